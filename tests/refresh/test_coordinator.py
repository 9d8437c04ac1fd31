"""Who rotates, who waits, and for how long."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from bff.errors import Problem
from bff.refresh import Deferred, Outcome, Rotated, change_waiter
from bff.session.sessions import Found
from tests.refresh.harness import RefreshHarness, running_harness
from tests.support.processes.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until


def versions(outcomes: Iterable[Outcome]) -> set[int]:
    """The versions that were come to; 0 where there were none."""
    return {each.found.session.version if isinstance(each, Rotated) else 0 for each in outcomes}


@pytest.mark.requirement("T-01")
async def test_a_thousand_wait_for_one(two: RefreshHarness) -> None:
    """Five hundred in each of two processes: the token is sent once, and each process counts who waited."""
    found = await two.signed_in()
    outcomes = await asyncio.gather(*(two.processes[n % 2].rotate(found) for n in range(1000)))
    assert ({2}, ["1/r1"]) == (versions(outcomes), two.provider.sent)
    counted = [process.counted("bff_refresh_requests_sum") for process in two.processes]
    assert [500.0, 500.0] == counted
    outcomes_counted = [
        sum(process.counted("bff_refreshes_total", outcome=name) for process in two.processes)
        for name in ("rotated", "followed", "deferred")
    ]
    assert [1.0, 1.0, 0.0] == outcomes_counted


async def test_the_feed_wakes_who_waits(two: RefreshHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where changes are told of, nobody needs the timer to see that another process is done."""
    monkeypatch.setattr(change_waiter, "LOOK_FOR_DEAD", 60.0)
    here, there = two.processes
    here.client.may_answer.clear()
    found = await two.signed_in()
    async with background(here.rotate(found)) as first:
        await until(lambda: len(two.provider.sent) == 1)
        async with background(there.rotate(found)) as second:
            await until(lambda: there.counted("bff_refresh_waiters") == 1)
            here.client.may_answer.set()
            assert {2} == versions([await first, await second])
    assert 1 == len(two.provider.sent)


@pytest.mark.parametrize("feed", [True, False])
async def test_a_holder_that_died_tells_nobody(redis_server: RedisServer, feed: bool) -> None:
    """Its lock runs out; the timer finds that, with the feed and without."""
    async with running_harness(redis_server, feed=feed) as harness:
        (process,) = harness.processes
        found = await harness.signed_in()
        lock = f"bff:lock:{found.session.key}"
        harness.redis.cli("SET", lock, "dead", "PX", "60000")
        async with background(process.rotate(found)) as rotating:
            await until(lambda: process.counted("bff_refresh_waiters") == 1)
            harness.redis.cli("PEXPIRE", lock, "1")
            assert {2} == versions([await rotating])
        assert 0 < process.counted("bff_refresh_lock_wait_seconds_sum")


async def test_without_a_feed_they_look(redis_server: RedisServer) -> None:
    """An imitation of Redis, or an account without rights: ten times a second."""
    async with running_harness(redis_server, processes=2, feed=False) as harness:
        here, there = harness.processes
        found = await harness.signed_in()
        assert {2} == versions(await asyncio.gather(here.rotate(found), there.rotate(found)))
        assert 1 == len(harness.provider.sent)


@pytest.mark.requirement("T-08")
async def test_waiting_has_an_end_and_the_rotation_goes_on(redis_server: RedisServer) -> None:
    """The request is told to come back; the tokens are saved all the same."""
    async with running_harness(redis_server, timeout=0.05) as harness:
        (process,) = harness.processes
        process.client.may_answer.clear()
        found = await harness.signed_in()
        assert Deferred(Problem.PROVIDER_UNAVAILABLE, None, "queued") == await process.rotate(found)
        process.client.may_answer.set()
        await until(lambda: len(process.tasks) == 0)
        standing = await process.standing(found)
        assert isinstance(standing, Found)
        assert 2 == standing.session.version


async def test_a_lock_that_is_held_for_too_long(redis_server: RedisServer) -> None:
    """The rotation is put off; nobody else's lock is touched."""
    async with running_harness(redis_server, timeout=0.05) as harness:
        (process,) = harness.processes
        found = await harness.signed_in()
        harness.redis.cli("SET", f"bff:lock:{found.session.key}", "another")
        process.refresher.ahead(found)
        await until(lambda: len(process.tasks) == 0)
        assert 1.0 == process.counted("bff_refreshes_total", outcome="deferred", cause="ahead")
        assert "another" == harness.redis.cli("GET", f"bff:lock:{found.session.key}")


@pytest.mark.requirement("T-05")
async def test_who_has_newer_tokens_waits_for_a_rotation_of_those(harness: RefreshHarness) -> None:
    """A rotation that began before says nothing about them."""
    (process,) = harness.processes
    found = await harness.signed_in()
    rotated = await process.rotate(found)
    assert isinstance(rotated, Rotated)
    process.refresher.ahead(found)  # for tokens that are long past
    again = await process.rotate(rotated.found, "unauthorized")
    assert {3} == versions([again])
    assert ["1/r1", "1/r2"] == harness.provider.sent


async def test_parallel_calls_have_a_limit(redis_server: RedisServer) -> None:
    """Forty sessions, two processes, three calls at once in each: all rotate, each once."""
    async with running_harness(redis_server, processes=2, tickets=3) as harness:
        sessions = [await harness.signed_in() for _ in range(40)]
        rotating = [process.rotate(found) for found in sessions for process in harness.processes]
        assert {2} == versions(await asyncio.gather(*rotating))
        assert sorted(f"{n}/r1" for n in range(1, 41)) == sorted(harness.provider.sent)
        assert harness.provider.most_at_once <= 6


async def test_what_queues_locks_nothing(redis_server: RedisServer) -> None:
    """A session that waits for its turn here can be rotated by another process meanwhile."""
    async with running_harness(redis_server, processes=2, tickets=1) as harness:
        here, there = harness.processes
        here.client.may_answer.clear()
        first, second = await harness.signed_in(), await harness.signed_in()
        async with background(here.rotate(first)) as slow:
            await until(lambda: len(harness.provider.sent) == 1)
            async with background(here.rotate(second)) as queued:
                assert {2} == versions([await there.rotate(second)])
                here.client.may_answer.set()
                assert {2} == versions([await slow, await queued])
        assert ["1/r1", "2/r1"] == harness.provider.sent


async def test_who_has_to_wait_goes_before_the_background(redis_server: RedisServer) -> None:
    """Also where the background had the place already."""
    async with running_harness(redis_server, tickets=1) as harness:
        (process,) = harness.processes
        process.client.may_answer.clear()
        sessions = [await harness.signed_in() for _ in range(4)]
        for found in sessions:
            process.refresher.ahead(found)
        await until(lambda: len(harness.provider.sent) == 1)
        (first,) = {int(token.partition("/")[0]) - 1 for token in harness.provider.sent}
        last = sessions[0 if first == 3 else 3]
        async with background(process.rotate(last)) as waiting:
            process.client.may_answer.set()
            await waiting
        await until(lambda: len(process.tasks) == 0)
        assert harness.provider.sent[1] == last.session.tokens.refresh_token
        assert 4 == len(harness.provider.sent)


# In the background


async def test_the_background_is_asked_once(harness: RefreshHarness) -> None:
    """However many calls see that it is time."""
    (process,) = harness.processes
    found = await harness.signed_in()
    for _ in range(50):
        process.refresher.ahead(found)
    assert 1 == len(process.tasks)
    await until(lambda: len(process.tasks) == 0)
    assert ["1/r1"] == harness.provider.sent
    assert 1.0 == process.counted("bff_refreshes_total", outcome="rotated", cause="ahead")


@pytest.mark.requirement("T-08")
@pytest.mark.parametrize(("calls", "plan"), [(1, ["wait"]), (1, ["unreachable"]), (2, ["lost", "lost"])])
async def test_a_provider_that_failed_is_left_alone(
    harness: RefreshHarness, calls: int, plan: list[str]
) -> None:
    """Calls with good tokens start nothing while it rests, and it is tried again afterwards."""
    (process,) = harness.processes
    process.client.plan = plan
    found = await harness.signed_in()
    process.refresher.ahead(found)
    await until(lambda: len(process.tasks) == 0)
    assert calls == process.client.connecting
    for _ in range(50):
        process.refresher.ahead(found)
    assert 0 == len(process.tasks)
    harness.now += 10
    process.refresher.ahead(found)
    await until(lambda: len(process.tasks) == 0)
    assert calls + 1 == process.client.connecting


@pytest.mark.requirement("T-08")
async def test_one_probe_asks_for_all(harness: RefreshHarness) -> None:
    """After an outage one session asks; when it has its answer the others do, and nobody was ended."""
    (process,) = harness.processes
    process.client.plan = ["unreachable"]
    sessions = [await harness.signed_in() for _ in range(10)]
    await process.rotate(sessions[0])
    assert 1.0 == process.counted("bff_provider_circuit_open")
    harness.now += 10
    process.client.may_answer.clear()
    async with background(process.rotate(sessions[1])) as probe:
        await until(lambda: len(harness.provider.sent) == 1)
        others: list[Any] = await asyncio.gather(*(process.rotate(found) for found in sessions[2:]))
        assert {("resting", 1.0)} == {(other.why, other.retry_after) for other in others}
        process.client.may_answer.set()
        assert {2} == versions([await probe])
    assert 0.0 == process.counted("bff_provider_circuit_open")
    assert {2} == versions(await asyncio.gather(*(process.rotate(found) for found in sessions)))


async def test_many_lost_answers_of_many_sessions_open_the_circuit(harness: RefreshHarness) -> None:
    """Five in a row: the other sessions' tokens are kept back."""
    (process,) = harness.processes
    process.client.plan = ["lost"] * 100
    sessions = [await harness.signed_in() for _ in range(10)]
    for found in sessions:
        await process.rotate(found)
    assert 5 == len(harness.provider.sent)
    assert 1.0 == process.counted("bff_provider_circuit_open")


async def test_a_session_that_cannot_be_refreshed_is_left_as_it_is(harness: RefreshHarness) -> None:
    """Without a refresh token there is nothing to send, and nothing to end."""
    (process,) = harness.processes
    found = await harness.signed_in()
    prepared = process.sessions.prepare(found, found.session.tokens, claims=None)
    await process.sessions.save(prepared)
    assert {2} == versions([await process.rotate(found)])
    assert [] == harness.provider.sent


# The audit log


async def test_each_refresh_that_failed_is_told_of_once(
    harness: RefreshHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, however many waited; those that were not even tried are counted only."""
    (process,) = harness.processes
    process.client.plan = ["wait"]
    found = await harness.signed_in()
    await asyncio.gather(*(process.rotate(found) for _ in range(20)))
    await asyncio.gather(*(process.rotate(found) for _ in range(20)))
    written = "".join(capsys.readouterr())
    assert 1 == written.count("refresh_failed")
    assert "provider_busy" in written
    assert 2.0 == process.counted("bff_refreshes_total", outcome="deferred")
