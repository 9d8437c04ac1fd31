"""`bff sessions` over a million sessions beside live traffic: memory, time, and what the traffic notices.

A worker without a near cache, so that every call asks Redis, is called at a fixed pace. Each command runs in
turn as a process of its own, and is stopped and let go on every few seconds: so calls beside it and calls
without it are measured under the same load of the machine. A call counts from the moment at which it was due.
No command may take much more memory than it takes with hardly any sessions, nor double the traffic's p99.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console

from tests.cli.signed_in import environ
from tests.support.processes.fleet import CSRF, HOST, Fleet, running_fleet
from tests.support.processes.forked import BARE
from tests.support.processes.redis import RedisServer, redis_server
from tests.support.providers.rotating import rotating_provider

LARGE = "a-service"
"""A user with a tenth of all sessions: their index is large."""
FEW = 1000
_TURN = 4.0  # seconds that a command runs, and is stopped
_ENOUGH = 500  # calls, for a 99th percentile that says something
_PACE = 0.04  # seconds between two calls
_CHUNK = 2000  # sessions that are written at a time
_MORE_MEMORY = 24.0  # MiB above a run with few sessions: of parts, not of sessions
_DAY = 86400

_console = Console(stderr=True, width=120)


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command's arguments."""
    parser.add_argument(
        "--sessions", type=int, default=1_000_000, help="how many sessions there are (1000000)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs each command once; 1 if one took too much memory, or the traffic's p99 doubled."""
    try:
        wrong = asyncio.run(_run(arguments.sessions, arguments.minutes * 60))
    except TimeoutError:
        wrong = [f"it is not done within {arguments.minutes:g} minutes: more --minutes, fewer --sessions"]
    for line in wrong:
        _console.print(f"[red]wrong[/] {line}", highlight=False)
    return 1 if wrong else 0


@dataclass
class _Run:
    """One command, or none, and the traffic meanwhile. Latencies in milliseconds, memory in MiB.

    `latencies` are those of calls while it ran, `without` of calls while it was stopped.
    """

    name: str
    seconds: float = 0.0
    memory: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    stopped: bool = False
    refused: int = 0
    said: str = ""


async def _run(count: int, patience: float) -> list[str]:
    with (
        tempfile.TemporaryDirectory(prefix="bff-oversight-") as folder,
        redis_server() as redis,
        rotating_provider() as provider,
    ):
        provider.expires_in = _DAY
        async with (
            running_fleet(
                *(redis, provider, Path(folder)), workers=1, valves=False, session={"near_cache": False}
            ) as fleet,
            asyncio.timeout(patience),
        ):
            _fill(redis, FEW)
            small = await _command(fleet, redis, "list", "--all", "--json")
            began = time.monotonic()
            await asyncio.to_thread(_fill, redis, count)
            _console.print(f"stored {count:,} sessions in {time.monotonic() - began:.0f} s")
            runs = [await _command(fleet, redis, *words) for words in _COMMANDS]
    return _wrong(small, runs)


_COMMANDS = (
    ("list", "--claim", "email=alice@example.com"),
    ("end", "--user", "alice", "--yes"),
    ("end", "--user", LARGE, "--yes"),
    ("stats",),
    ("list", "--all", "--json"),
)


def _wrong(small: _Run, runs: list[_Run]) -> list[str]:
    """Returns the faults that were found."""
    wrong = []
    for each in runs:
        if max(each.memory) > max(small.memory) + _MORE_MEMORY:
            wrong.append(f"{each.name}: {max(each.memory):.0f} MiB, and {max(small.memory):.0f} with {FEW:,}")
        if min(len(each.latencies), len(each.without)) >= _ENOUGH:
            beside, without = (_percentile(values, 99) for values in (each.latencies, each.without))
            if beside > 2 * without:
                wrong.append(f"{each.name}: p99 {beside:.1f} ms, and {without:.1f} ms while it was stopped")
        if each.refused:
            wrong.append(f"{each.name}: {each.refused} calls of the traffic were not answered with 200")
    return wrong


async def _command(fleet: Fleet, redis: RedisServer, *words: str) -> _Run:
    found = _Run(" ".join(words))
    began = time.monotonic()
    async with _traffic(fleet, found):
        with tempfile.TemporaryFile() as output:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bff", "sessions", *words),
                env=BARE | environ(redis),
                stdout=output,
                stderr=asyncio.subprocess.DEVNULL,
            )
            ended = asyncio.get_running_loop().create_task(child.wait())
            stopped_for, turn = 0.0, time.monotonic()
            while not (await asyncio.wait([ended], timeout=0.2))[0]:
                found.memory.append(_resident(child.pid))
                if (passed := time.monotonic() - turn) >= _TURN:
                    stopped_for += passed if found.stopped else 0.0
                    found.stopped, turn = not found.stopped, time.monotonic()
                    child.send_signal(signal.SIGSTOP if found.stopped else signal.SIGCONT)
            found.seconds = time.monotonic() - began - stopped_for
            found.said = _last_line(output.fileno())
    if await ended:
        raise RuntimeError(f"{found.name} ended with {child.returncode}")
    _tell(found)
    return found


@contextlib.asynccontextmanager
async def _traffic(fleet: Fleet, found: _Run) -> AsyncIterator[None]:
    """Calls at a fixed pace, whatever the answers take."""
    member = await fleet.member(sub="traffic")
    headers = {"Host": HOST, "Cookie": f"bff={member.handle}", **CSRF}
    over = asyncio.Event()

    async def call(client: httpx.AsyncClient, due: float) -> None:
        stopped = found.stopped
        answer = await client.get("/api/orders", headers=headers)
        (found.without if stopped else found.latencies).append((time.monotonic() - due) * 1000)
        found.refused += answer.status_code != 200

    async def calls(client: httpx.AsyncClient) -> None:
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(call(client, due))
                due += _PACE

    async with (
        httpx.AsyncClient(base_url=fleet.workers[0].url, timeout=60) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(calls(client))
        try:
            yield
        finally:
            over.set()


_FILL = """
local first, count, all, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local sealed, ends = string.rep('x', 900), tostring(now + 86400)
for number = first, first + count - 1 do
  local seed = redis.sha1hex(ARGV[3] .. ' ' .. number)
  local key, sid = seed .. string.sub(redis.sha1hex(seed), 1, 24), string.sub(seed, 9)
  local sub = 'u' .. number
  if number < 10 then sub = 'alice' elseif number % 10 == 0 then sub = ARGV[5] end
  redis.call('HSET', 'bff:session:' .. key, 'version', '1', 'provider', 'main', 'sub', sub, 'sid', sid,
    'name', sub, 'created', string.format('%d', now - number * 86400 / all),
    'seen', string.format('%d.123456789012345678', now), 'ends', ends, 'ip', '192.0.2.7',
    'ua', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    'claim:email', sub .. '@example.com', 'tokens', sealed)
  redis.call('PEXPIRE', 'bff:session:' .. key, 7200000)
  redis.call('SET', 'bff:until:' .. string.sub(key, 1, 16), '1 ' .. sub, 'PX', 10800000)
  redis.call('ZADD', 'bff:user:main:' .. sub, ends, key)
  redis.call('PEXPIRE', 'bff:user:main:' .. sub, 86400000)
  redis.call('SADD', 'bff:sid:main:' .. sid, key)
  redis.call('PEXPIRE', 'bff:sid:main:' .. sid, 86400000)
end
"""
"""Writes sessions as the store does, but for their sealed part, which nobody opens. Ten are Alice's."""


def _fill(redis: RedisServer, count: int) -> None:
    with redis.client(socket_timeout=60) as client:
        for first in range(0, count, _CHUNK):
            client.eval(_FILL, 0, first, min(_CHUNK, count - first), count, round(time.time()), LARGE)


def _resident(pid: int) -> float:
    """Memory of a process in MiB; 0 when it is over."""
    with contextlib.suppress(OSError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _last_line(file: int) -> str:
    size = os.lseek(file, 0, os.SEEK_END)
    os.lseek(file, max(0, size - 200), os.SEEK_SET)
    lines = os.read(file, 200).decode(errors="replace").splitlines()
    return lines[-1][:40] if lines else ""


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else 0.0


def _tell(found: _Run) -> None:
    """Says how a command went, as soon as it is over."""
    early = max(found.memory[: max(1, len(found.memory) // 4)], default=0.0)
    memory = f"{early:.0f} MiB early, {max(found.memory):.0f} at most; " if found.memory else ""
    _console.print(
        f"{found.name}: {found.seconds:.1f} s; {memory}{len(found.latencies)} calls, "
        f"p50 {_percentile(found.latencies, 50):.1f} ms, p99 {_percentile(found.latencies, 99):.1f} ms"
        + (
            f" (stopped: {len(found.without)}, {_percentile(found.without, 50):.1f}, "
            f"{_percentile(found.without, 99):.1f})"
            if found.without
            else ""
        )
        + "; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {found.said}",
        highlight=False,
    )
