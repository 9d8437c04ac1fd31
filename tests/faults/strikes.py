"""The faults: how each begins, how long it lasts, how it ends, and what clients may see of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.faults.stage import Stage
from tests.support.processes.fleet import BROKEN
from tests.support.providers.behaviour import TROUBLES, refusal, slow
from tests.support.settings import PATIENCE
from tests.support.wait import until

Act = Callable[[Stage], Awaitable[None]]
Settings = Mapping[str, Any]

EMPTY = "Redis restarts empty"
PATIENT: Settings = {"redis": {"timeout": f"{PATIENCE:g}s"}}  # a busy machine is no fault of Redis's
HASTY: Settings = {"redis": {"timeout": "1s"}}
HANGING: Settings = {**PATIENT, "refresh": {"answer_timeout": "2s"}}
FINE = frozenset({200})
WAITING = frozenset({200, 503})  # Redis or the provider is out of reach for these clients


async def nothing(_: Stage) -> None:
    """Nothing is to be done."""


@dataclass(frozen=True)
class Fault:
    """One kind of trouble.

    Attributes:
        strike: begins it, with the first worker held at the moment; then that goes on.
        lasts: seconds until it ends.
        heal: ends it.
        before: done before the rotation begins.
        first: what the client may get whose call began the rotation; 401 as well where the session ends.
        others: what those of the second worker may get, likewise.
        settings: that differ for it.
        needs: "replica" or "clock".
        cuts_off: it lasts until another worker has taken the place of the first one, where that can be.
    """

    strike: Act = nothing
    lasts: float = 0.0
    heal: Act = nothing
    before: Act = nothing
    first: frozenset[int] = FINE
    others: frozenset[int] = FINE
    settings: Settings = field(default_factory=lambda: PATIENT)
    needs: str = ""
    cuts_off: bool = False


# A worker


async def _kill(stage: Stage) -> None:
    stage.first.kill()


async def _restart(stage: Stage) -> None:
    stage.first.start()
    await stage.first.up()


async def _freeze(stage: Stage) -> None:
    stage.first.freeze()


async def _thaw(stage: Stage) -> None:
    stage.first.thaw()


async def _terminate(stage: Stage) -> None:
    stage.first.terminate()
    stage.release()
    assert 0 == await stage.first.ended()


# Redis


async def _stop(stage: Stage) -> None:
    await asyncio.to_thread(stage.fleet.redis.stop)


async def _stop_empty(stage: Stage) -> None:
    await asyncio.to_thread(stage.fleet.redis.stop, keep_data=False)


async def _start(stage: Stage) -> None:
    await asyncio.to_thread(stage.fleet.redis.start)


async def _fail_over(stage: Stage) -> None:
    """The replica has everything; it takes over, and the address follows."""
    assert stage.replica is not None
    with stage.fleet.redis.client() as master:
        await asyncio.to_thread(master.wait, 1, 2000)
    await _promote(stage)


async def _promote(stage: Stage) -> None:
    """It takes over with what it has; the master is gone."""
    await asyncio.to_thread(stage.fleet.redis.close)
    await _take_over(stage)


async def _take_over(stage: Stage) -> None:
    replica = stage.replica
    assert replica is not None
    with replica.client() as client:
        client.replicaof("NO", "ONE")
    stage.every_valve(lambda valve: valve.aim(replica.port))
    stage.fleet.redis, stage.replica = replica, stage.fleet.redis


async def _switch_over(stage: Stage) -> None:
    """The two change places; connections to the old master stay, and can only read there."""
    assert stage.replica is not None
    with stage.fleet.redis.client() as master:
        await asyncio.to_thread(master.wait, 1, 2000)
        await _take_over(stage)
        master.replicaof("127.0.0.1", str(stage.fleet.redis.port))


async def _detach(stage: Stage) -> None:
    """From now on the replica gets nothing more."""
    assert stage.replica is not None
    with stage.fleet.redis.client() as master, stage.replica.client() as replica:
        await asyncio.to_thread(master.wait, 1, 2000)
        replica.replicaof("127.0.0.1", "1")


async def _read_only(stage: Stage) -> None:
    with stage.fleet.redis.client() as client:
        client.replicaof("127.0.0.1", "1")


async def _writable(stage: Stage) -> None:
    with stage.fleet.redis.client() as client:
        client.replicaof("NO", "ONE")


def _configured(name: str, value: int) -> Act:
    """Sets a setting of Redis."""

    async def act(stage: Stage) -> None:
        with stage.fleet.redis.client() as client:
            client.config_set(name, value)

    return act


async def _cannot_save(stage: Stage) -> None:
    """Its disk takes no snapshot: MISCONF."""
    with stage.fleet.redis.client() as client:
        _snapshot(client).mkdir()
        client.config_set("save", "3600 1")
        client.bgsave()
        await until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


async def _can_save(stage: Stage) -> None:
    with stage.fleet.redis.client() as client:
        client.config_set("save", "")
        _snapshot(client).rmdir()


def _snapshot(client: "redis.Redis") -> Path:
    return Path(str(client.config_get("dir")["dir"]), str(client.config_get("dbfilename")["dbfilename"]))


async def _slow(stage: Stage) -> None:
    stage.every_valve(lambda valve: setattr(valve, "delay", 0.15))


async def _fast(stage: Stage) -> None:
    stage.every_valve(lambda valve: setattr(valve, "delay", 0.0))


async def _freeze_redis(stage: Stage) -> None:
    stage.fleet.redis.pause()


async def _thaw_redis(stage: Stage) -> None:
    stage.fleet.redis.resume()


async def _pause(stage: Stage) -> None:
    assert stage.first.valve is not None
    stage.first.valve.pause()


async def _resume(stage: Stage) -> None:
    assert stage.first.valve is not None
    stage.first.valve.resume()


async def _cut(stage: Stage) -> None:
    assert stage.first.valve is not None
    stage.first.valve.cut()


# People


async def _leave(stage: Stage) -> None:
    assert stage.call is not None
    stage.call.cancel()


async def _log_out(stage: Stage) -> None:
    said = await stage.fleet.call(stage.member, worker=1, method="POST", path="/bff/logout")
    assert 200 == said.status


async def _delete(stage: Stage) -> None:
    with stage.fleet.redis.client() as client:
        assert 1 == client.delete(f"bff:session:{stage.member.key}")


# Clocks


def _clock(ahead: float) -> Act:
    async def strike(stage: Stage) -> None:
        stage.first.set_clock(ahead)

    return strike


# The provider


def _next(name: str) -> Act:
    async def before(stage: Stage) -> None:
        stage.fleet.provider.next(TROUBLES[name])

    return before


def _usual(name: str) -> Act:
    async def before(stage: Stage) -> None:
        stage.fleet.provider.usual = refusal(500) if name == "500" else TROUBLES[name]

    return before


async def _honest(stage: Stage) -> None:
    stage.fleet.provider.usual = slow(0)


async def _provider_down(stage: Stage) -> None:
    stage.fleet.provider.stop()


async def _provider_up(stage: Stage) -> None:
    stage.fleet.provider.start()


def _slow_provider(seconds: float) -> Act:
    async def before(stage: Stage) -> None:
        stage.fleet.provider.next(slow(seconds))

    return before


async def _revoked(stage: Stage) -> None:
    stage.fleet.provider.revoke(stage.member.family.current)


async def _ahead_and_back(stage: Stage) -> None:
    """Tokens that were fetched by a clock that was wrong, and then the backend wants newer ones."""
    stage.first.set_clock(3600)
    stage.extra.append(await stage.fleet.call(stage.member, worker=0))
    stage.first.set_clock(0)
    stage.fleet.provider.forget_access()


async def _forgotten(stage: Stage) -> None:
    stage.fleet.provider.forget_access()


FAULTS: dict[str, Fault] = {
    "kill -9": Fault(_kill, heal=_restart, first=frozenset({BROKEN})),
    "SIGSTOP 6 s": Fault(_freeze, lasts=6, heal=_thaw, first=WAITING, others=WAITING),
    "SIGSTOP 10 s": Fault(_freeze, lasts=10, heal=_thaw, first=WAITING, others=WAITING, cuts_off=True),
    "SIGTERM": Fault(_terminate, heal=_restart),
    "Redis restarts": Fault(_stop, lasts=1, heal=_start, first=WAITING, others=WAITING, settings=HASTY),
    "Redis gone 7 s": Fault(_stop, lasts=7, heal=_start, first=WAITING, others=WAITING, settings=HASTY),
    EMPTY: Fault(_stop_empty, lasts=1, heal=_start, first=WAITING, others=WAITING, settings=HASTY),
    "Redis fails over": Fault(_fail_over, first=WAITING, others=WAITING, needs="replica", settings=HASTY),
    "Redis switches over": Fault(
        _switch_over, first=WAITING, others=WAITING, needs="replica", settings=HASTY
    ),
    "Redis fails over, the last write lost": Fault(
        _detach, lasts=0.5, heal=_promote, first=WAITING, others=WAITING, needs="replica", settings=HASTY
    ),
    "Redis read-only": Fault(
        _read_only, lasts=1.5, heal=_writable, first=WAITING, others=WAITING, settings=HASTY
    ),
    "Redis full": Fault(
        _configured("maxmemory", 1),
        lasts=1.5,
        heal=_configured("maxmemory", 0),
        first=WAITING,
        others=WAITING,
        settings=HASTY,
    ),
    "Redis without replicas": Fault(
        _configured("min-replicas-to-write", 1),  # a master without a replica takes no writes: NOREPLICAS
        lasts=1.5,
        heal=_configured("min-replicas-to-write", 0),
        first=WAITING,
        others=WAITING,
        settings=HASTY,
    ),
    "Redis cannot save": Fault(
        _cannot_save, lasts=1.5, heal=_can_save, first=WAITING, others=WAITING, settings=HASTY
    ),
    "Redis slow": Fault(_slow, lasts=3, heal=_fast, first=WAITING, others=WAITING, settings=HASTY),
    "Redis frozen 3 s": Fault(
        _freeze_redis, lasts=3, heal=_thaw_redis, first=WAITING, others=WAITING, settings=HASTY
    ),
    "network pause 3 s": Fault(_pause, lasts=3, heal=_resume, first=WAITING, others=WAITING, settings=HASTY),
    "network pause 6 s": Fault(_pause, lasts=6, heal=_resume, first=WAITING, others=WAITING, settings=HASTY),
    "network pause 10 s": Fault(
        _pause, lasts=10, heal=_resume, first=WAITING, others=WAITING, settings=HASTY, cuts_off=True
    ),
    "connections cut": Fault(_cut, first=WAITING),
    "client leaves": Fault(_leave, first=frozenset()),
    "logout": Fault(_log_out, first=WAITING),
    "redis-cli DEL": Fault(_delete, first=WAITING),
    "clock 1 h ahead": Fault(_clock(3600), lasts=1, heal=_clock(0), needs="clock"),
    "clock 1 h back": Fault(_clock(-3600), lasts=1, heal=_clock(0), needs="clock"),
    "clock was ahead, then a 401": Fault(_ahead_and_back, needs="clock"),
    "provider down 2 s": Fault(
        before=_provider_down, lasts=2, heal=_provider_up, first=WAITING, others=WAITING
    ),
    "provider down 30 s": Fault(
        before=_provider_down, lasts=30, heal=_provider_up, first=WAITING, others=WAITING
    ),
    "provider 500 for 30 s": Fault(
        before=_usual("500"), lasts=30, heal=_honest, first=WAITING, others=WAITING
    ),
    "provider 500 for 2 s": Fault(before=_usual("500"), lasts=2, heal=_honest, first=WAITING, others=WAITING),
    "provider slow 9 s": Fault(before=_slow_provider(9), others=WAITING),
    "provider slow 25 s": Fault(before=_slow_provider(25), first=WAITING, others=WAITING),
    "provider slow 90 s": Fault(before=_slow_provider(90), first=WAITING, others=WAITING),
    "family revoked": Fault(before=_revoked),
    "backend says 401": Fault(before=_forgotten),
} | {
    f"provider: {name}": Fault(
        before=_next(name),
        first=WAITING,
        others=WAITING,
        settings=HANGING if trouble.end == "hang" else PATIENT,
    )
    for name, trouble in TROUBLES.items()
}
