"""A provider that answers late: nobody is signed out for it, and nobody else waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from bff.errors import Problem
from bff.refresh import Deferred, Rotated, UserNeeded, rotation
from bff.session.sessions import Found, NoSession
from tests.refresh.harness import Process, RefreshHarness, running_harness
from tests.support.processes.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until, until_async

QUEUED = Deferred(Problem.PROVIDER_UNAVAILABLE, None, "queued")


@pytest.fixture
async def hasty(redis_server: RedisServer) -> AsyncIterator[RefreshHarness]:
    """Two processes with two slots each, in which requests wait for no more than a moment."""
    async with running_harness(redis_server, processes=2, tickets=2, timeout=0.2) as harness:
        yield harness


async def version(harness: RefreshHarness, found: Found) -> int:
    standing = await harness.processes[0].standing(found)
    assert isinstance(standing, Found)
    return standing.session.version


async def _rotated(process: Process, found: Found) -> bool:
    """True once the session's newer tokens come in time: a busy machine takes longer than such a moment."""
    return isinstance(await process.rotate(found), Rotated)


@pytest.mark.requirement("T-17")
async def test_a_late_answer_is_kept(hasty: RefreshHarness) -> None:
    """Requests get 503 in both processes; the token is sent once, and its answer saved when it comes."""
    here, there = hasty.processes
    found = await hasty.signed_in()
    here.client.may_answer.clear()
    assert QUEUED == await here.rotate(found)
    assert isinstance(await there.rotate(found), Deferred)
    assert QUEUED == await here.rotate(found)
    await until(lambda: ["1/r1"] == hasty.provider.sent)
    here.client.may_answer.set()
    for process in (here, there):
        await until_async(partial(_rotated, process, found))
    assert (["1/r1"], 2) == (hasty.provider.sent, await version(hasty, found))
    assert ({}, {}) == (here.incidents(), there.incidents())
    await until(lambda: not hasty.locks())


@pytest.mark.requirement("T-17")
async def test_a_late_answer_of_a_session_that_has_gone_is_given_back(hasty: RefreshHarness) -> None:
    """A sign-out meanwhile stays one."""
    here, _ = hasty.processes
    found = await hasty.signed_in()
    here.client.may_answer.clear()
    assert QUEUED == await here.rotate(found)
    await until(lambda: ["1/r1"] == hasty.provider.sent)
    hasty.redis.cli("DEL", f"bff:session:{found.session.key}")
    here.client.may_answer.set()
    await until(lambda: ["1/r2"] == hasty.provider.revoked)
    assert isinstance(await here.standing(found), NoSession)


@pytest.mark.requirement("T-17", "T-16")
async def test_calls_that_are_late_keep_nobody_else_waiting(hasty: RefreshHarness) -> None:
    """As many as there are slots hang: the next ones get theirs, and the late answers are kept."""
    here, _ = hasty.processes
    late = [await hasty.signed_in() for _ in range(2)]
    here.client.may_answer.clear()
    assert [QUEUED] * 2 == await asyncio.gather(*(here.rotate(found) for found in late))
    await until(lambda: 2 == len(hasty.provider.sent))
    gate, here.client.may_answer = here.client.may_answer, asyncio.Event()
    here.client.may_answer.set()
    async with asyncio.timeout(60):
        while not isinstance(await here.rotate(await hasty.signed_in()), Rotated):
            pass
    gate.set()
    for found in late:
        assert isinstance(await here.rotate(found), Rotated)
    assert len(hasty.provider.sent) == len(set(hasty.provider.sent))


@pytest.mark.requirement("T-17")
async def test_twenty_late_answers_end_no_session(redis_server: RedisServer) -> None:
    """Neither the circuit that opens meanwhile nor the slots lose one."""
    async with running_harness(redis_server, tickets=20, timeout=0.2) as harness:
        (process,) = harness.processes
        sessions = [await harness.signed_in() for _ in range(20)]
        process.client.may_answer.clear()
        await asyncio.gather(*(process.rotate(found) for found in sessions))
        await until(lambda: 1.0 == process.counted("bff_provider_circuit_open"))
        process.client.may_answer.set()
        await until(lambda: 20.0 == process.counted("bff_refreshes_total", outcome="rotated"))
        assert 0.0 == process.counted("bff_provider_circuit_open")
        assert [2] * 20 == [await version(harness, found) for found in sessions]
        assert 20 == len(harness.provider.sent)


@pytest.mark.requirement("T-17")
async def test_an_answer_that_never_comes_is_not_asked_for_at_once(harness: RefreshHarness) -> None:
    """The provider may be at it yet: marked as lost, and left to a later call."""
    harness.provider.grace = True
    (process,) = harness.processes
    process.client.plan = ["late"]
    found = await harness.signed_in()
    outcome = await process.rotate(found)
    assert isinstance(outcome, Deferred)
    assert ("answer_late", 1) == (outcome.why, len(harness.provider.sent))
    assert harness.marker(found).endswith(" lost")
    harness.now += 1
    assert isinstance(await process.rotate(found), Rotated)
    assert {"resumed_lost": 1.0} == process.incidents()


@pytest.mark.requirement("T-08")
async def test_a_provider_that_is_back_is_asked_soon_by_one(
    harness: RefreshHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute out of reach: within five seconds, by one session for all, though that one is slow."""
    monkeypatch.setattr(rotation, "_PROBE_LATE", 0.05)
    (process,) = harness.processes
    sessions = [await harness.signed_in() for _ in range(10)]
    process.client.plan = ["unreachable"]
    await process.rotate(sessions[0])
    for _ in range(12):
        harness.now += 5
        process.client.plan = ["unreachable"] * 10
        await asyncio.gather(*(process.rotate(found) for found in sessions))
        assert 9 == len(process.client.plan)
    harness.now += 5
    assert [] == harness.provider.sent
    process.client.plan = []
    process.client.may_answer.clear()
    async with background(process.rotate(sessions[0])):
        await until(lambda: 1 == len(harness.provider.sent))
        others = await asyncio.gather(*(process.rotate(found) for found in sessions[1:]))
        assert {"resting"} == {each.why for each in others if isinstance(each, Deferred)}
        process.client.may_answer.set()
        await until(lambda: 0.0 == process.counted("bff_provider_circuit_open"))
    assert {Rotated} == {type(each) for each in await asyncio.gather(*map(process.rotate, sessions))}


# The provider wants to see the user


@pytest.mark.requirement("T-20")
async def test_a_session_whose_user_is_needed_waits_by_itself(two: RefreshHarness) -> None:
    """Nothing is spent, no marker stays; it is asked again after a while, by each process for itself."""
    here, there = two.processes
    found, other = await two.signed_in(), await two.signed_in()
    here.client.plan = ["sign in"]
    assert [UserNeeded()] * 3 == [await here.rotate(found) for _ in range(3)]
    assert ("", ["1/r1"]) == (two.marker(found), two.provider.sent)
    assert isinstance(await here.rotate(other), Rotated)
    assert 1 == await version(two, found)
    two.provider.killed = False
    two.now += 1
    assert two.provider.sent[:2] == ["1/r1", "2/r1"]
    there.client.plan = ["sign in"]
    assert UserNeeded() == await there.rotate(found)


async def test_an_answer_in_time_is_not_late(hasty: RefreshHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its timer is cancelled: else it would lend a slot that is another's by then, and warn for nothing."""
    loop, timers = asyncio.get_running_loop(), list[asyncio.TimerHandle]()

    def noted(delay: float, callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.TimerHandle:
        timer = loop.call_at(loop.time() + delay, callback, *args, **more)
        if getattr(callback, "__name__", "") == "_is_late":
            timers.append(timer)
        return timer

    monkeypatch.setattr(loop, "call_later", noted)
    here, _ = hasty.processes
    assert isinstance(await here.rotate(await hasty.signed_in()), Rotated)
    assert [True] == [timer.cancelled() for timer in timers]
