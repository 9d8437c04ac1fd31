"""Runs one cell of the matrix, and judges it."""

import asyncio
import contextlib
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bff.session.sessions import Found
from tests.faults.stage import Stage
from tests.faults.strikes import EMPTY, FAULTS, FINE, WAITING
from tests.faults.table import Cell
from tests.support.processes.fleet import BROKEN, Answered, Fleet, Member, running_fleet
from tests.support.processes.redis import RedisServer, redis_server
from tests.support.providers.rotating import rotating_provider
from tests.support.tasks import background
from tests.support.wait import until

_BETWEEN = 0.15  # seconds between two calls of a client that goes on calling
_LOCK_ENDS = 60.0  # seconds: one that nobody prolongs ends after five
_GRACE = 60.0
BUSY = 503
TWICE = (2, 2)


@dataclass
class Result:
    """How a cell went; nothing in `wrong` if as it should."""

    cell: Cell
    calls: int = 0
    reuse: bool = False
    answers: Counter[int] = field(default_factory=Counter)  # what the session's own clients got
    end: str = ""
    seconds: float = 0.0  # from the strike until every client had the answer that stays
    wrong: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


async def run_cell(cell: Cell) -> Result:
    """Sets the stage, strikes, heals, and looks what became of it all."""
    result = Result(cell)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-fault-")))
        redis = await asyncio.to_thread(stack.enter_context, redis_server())
        provider = await asyncio.to_thread(stack.enter_context, rotating_provider())
        provider.grace = _GRACE if cell.grace else 0.0
        fault = FAULTS[cell.fault]
        replica = None
        if fault.needs == "replica":
            replica = await asyncio.to_thread(stack.enter_context, _replica_of(redis))
        async with running_fleet(
            redis, provider, folder, clocked=fault.needs == "clock", **fault.settings
        ) as fleet:
            try:
                stage = await _stage(cell, fleet, replica)
                await _play(cell, stage, result)
            except Exception as error:  # noqa: BLE001 - the cell's result, told beside the others
                result.wrong.append(f"{type(error).__name__}: {error}"[:300])
                result.wrong += traceback.format_tb(error.__traceback__)[-3:]
            for worker in fleet.workers:
                worker.thaw_if_alive()
            if result.wrong:
                result.wrong += [line for worker in fleet.workers for line in _troubles(worker.log())]
    return result


async def _stage(cell: Cell, fleet: Fleet, replica: RedisServer | None) -> Stage:
    """A session about to be rotated, one that is not, and one that is over."""
    bystander, gone = await fleet.member(sub="bob"), await fleet.member(sub="carol")
    for worker in (0, 1):
        await _until_answered(200, lambda worker=worker: fleet.call(bystander, worker))  # type: ignore[misc] # the default binds this turn's worker

    async def leave() -> Answered:
        await fleet.call(gone, worker=0, method="POST", path="/bff/logout")
        return await fleet.call(gone, worker=1)

    await _until_answered(401, leave)
    member = await fleet.member(expired=cell.token == "over", left=20.0 if cell.token == "usable" else None)
    return Stage(fleet, replica, cell.moment, member, bystander, gone)


async def _until_answered(status: int, call: Callable[[], Awaitable[Answered]]) -> None:
    """A worker that has just started on a busy machine may have to be asked again."""
    async with asyncio.timeout(60):
        while (await call()).status != status:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(_BETWEEN)


async def _play(cell: Cell, stage: Stage, result: Result) -> None:
    fault = FAULTS[cell.fault]
    seen: dict[str, list[Answered]] = {"first": [], "session": [], "bystander": [], "gone": []}
    stage.arm()
    await fault.before(stage)
    async with background(_first_call(stage)) as stage.call:
        await stage.reached()
        struck = time.monotonic()
        async with _traffic(stage, seen, first=fault.needs == "clock"):
            await fault.strike(stage)
            stage.release()
            await asyncio.sleep(fault.lasts)
            await _taken_over(cell, stage)
            await fault.heal(stage)
            ended = await _settled(cell, stage)
        result.seconds = time.monotonic() - struck
        with contextlib.suppress(asyncio.CancelledError):
            seen["first"].append(await stage.call)
    seen["session"] += stage.extra
    await _judge(cell, stage, result, seen, ended)


async def _first_call(stage: Stage) -> Answered:
    """Begins the rotation; asks again where a busy machine's Redis was too slow for that."""
    while True:
        answer = await stage.fleet.call(stage.member, worker=0)
        if answer.status != BUSY or stage.was_reached:
            return answer
        await asyncio.sleep(_BETWEEN)


async def _taken_over(cell: Cell, stage: Stage) -> None:
    """Waits until the other worker has sent the token too, where that is what the fault is to lead to."""
    if FAULTS[cell.fault].cuts_off and cell.calls == TWICE:
        await until(lambda: len(stage.fleet.provider.uses_of(stage.member.family)) == max(TWICE))


@contextlib.asynccontextmanager
async def _traffic(stage: Stage, seen: dict[str, list[Answered]], *, first: bool) -> AsyncIterator[None]:
    """Clients that go on calling at the second worker, and at the first if that can be asked."""

    async def go_on(name: str, member: Member, worker: int) -> None:
        while True:
            seen[name].append(await stage.fleet.call(member, worker))
            await asyncio.sleep(_BETWEEN)

    clients = [("session", stage.member, 1), ("bystander", stage.bystander, 1), ("gone", stage.gone, 1)]
    clients += [("session", stage.member, 0)] if first else []
    async with contextlib.AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(background(go_on(*client)))
        yield


async def _settled(cell: Cell, stage: Stage) -> list[Answered]:
    """Asks both workers until each gives the answer that stays; their last answers."""
    wanted = 200 if cell.end == "kept" else 401
    until_then = time.monotonic() + cell.within
    workers = [worker.number for worker in stage.fleet.workers if worker.alive]
    last: dict[int, Answered] = {}
    while True:
        for number in workers:
            if number not in last or last[number].status != wanted:
                last[number] = await stage.fleet.call(stage.member, number)
        if all(answer.status == wanted for answer in last.values()) and _rotated(cell, stage):
            return list(last.values())
        if time.monotonic() > until_then:
            return list(last.values())
        await asyncio.sleep(_BETWEEN)


def _rotated(cell: Cell, stage: Stage) -> bool:
    """A token that is good for a while yet is exchanged beside the calls; they do not tell."""
    return cell.token != "usable" or cell.end != "kept" or stage.fleet.record(stage.member)["version"] == "2"


async def _judge(
    cell: Cell, stage: Stage, result: Result, seen: dict[str, list[Answered]], last: list[Answered]
) -> None:
    fault, fleet = FAULTS[cell.fault], stage.fleet
    over = frozenset() if cell.end == "kept" else frozenset({401})
    good = cell.token == "usable"  # while that is so, nobody has to wait for another
    allowed = {
        "first": (FINE if good else fault.first) | over,
        "session": (FINE if good else fault.others) | over,
        "bystander": fault.others | (over if cell.fault == EMPTY else frozenset()),
    }
    result.answers.update(answer.status for name in ("first", "session") for answer in seen[name])
    for name, statuses in allowed.items():
        for answer in seen[name]:
            result.expect(answer.status in statuses, f"a client ({name}) got {_shown(answer)}")
    for answer in [*seen["gone"], await fleet.call(stage.gone, worker=1)]:
        result.expect(answer.status in WAITING - {200} | {401}, f"a dead session got {_shown(answer)}")
    result.end = "/".join(sorted({str(answer.status) for answer in last}))
    for answer in last:
        wanted = (200, "") if cell.end == "kept" else (401, cell.reason)
        result.expect(wanted == (answer.status, answer.reason), f"in the end: {_shown(answer)}")
    uses = fleet.provider.uses_of(stage.member.family)
    result.calls = len(uses)
    fewest, most = cell.calls
    result.expect(fewest <= len(uses) <= most, f"token calls: {[use.fate for use in uses]}")
    result.reuse = any(use.fate == "reuse" for use in uses)
    result.expect(cell.end == "lost" or not result.reuse, "the provider saw a reuse")
    await _look_behind(cell, stage, result)


async def _look_behind(cell: Cell, stage: Stage, result: Result) -> None:
    """What is left in Redis: no lock, no marker, and tokens that the provider still takes; or nothing."""
    fleet = stage.fleet
    for pttl in fleet.locks().values():
        result.expect(0 < pttl <= 5000, f"a lock for {pttl} ms")
    result.expect(await fleet.unlocked(_LOCK_ENDS), f"still locked: {fleet.locks()}")
    found = await fleet.opened(stage.member)
    if cell.end != "kept":
        result.expect(not isinstance(found, Found), "the session is in Redis again")
        return
    if not isinstance(found, Found):
        result.wrong.append("the session is gone from Redis")
        return
    token = found.session.tokens.refresh_token
    result.expect(token is not None and fleet.provider.takes(token), "its refresh token is of no use")
    result.expect(found.session.refreshing is None, "its marker still stands")


def _shown(answer: Answered) -> str:
    status = "a broken connection" if answer.status == BROKEN else str(answer.status)
    return f"{status} {answer.code} {answer.reason}".strip() + f" from worker {answer.worker}"


def _troubles(log: str) -> list[str]:
    return [f"log: {line[:300]}" for line in log.splitlines() if '"error"' in line or "Traceback" in line][:5]


@contextlib.contextmanager
def _replica_of(master: RedisServer) -> Iterator[RedisServer]:
    with redis_server() as replica, replica.client() as client, master.client() as other:
        other.config_set("repl-diskless-sync-delay", 0)
        client.replicaof("127.0.0.1", str(master.port))
        deadline = time.monotonic() + 60
        while client.info("replication").get("master_link_status") != "up":
            assert time.monotonic() < deadline, "the replica does not follow"
            time.sleep(0.02)
        yield replica
