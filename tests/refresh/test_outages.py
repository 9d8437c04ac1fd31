"""Redis goes away, or the process does, while a session is rotated."""

import asyncio
from typing import Any

import pytest

from bff.errors import Problem, StoreUnavailableError
from bff.refresh import Deferred, Over, Rotated, rotation
from bff.session.sessions import Found, NoSession
from tests.refresh.harness import RefreshHarness
from tests.support.tasks import background
from tests.support.wait import until


@pytest.mark.requirement("T-10")
async def test_nothing_is_sent_while_redis_is_away(harness: RefreshHarness) -> None:
    """The session cannot be marked: it waits for Redis, and the provider hears nothing."""
    (process,) = harness.processes
    found = await harness.signed_in()
    harness.redis.stop()
    assert Deferred(Problem.STORE_UNAVAILABLE, None, "store_unavailable") == await process.rotate(found)
    assert [] == harness.provider.sent
    harness.redis.start()
    assert isinstance(await process.rotate(found), Rotated)


@pytest.mark.requirement("T-10")
@pytest.mark.parametrize("word", ["take", "mark_refreshing"])
async def test_who_was_at_it_when_redis_went_away_goes_on_at_once(
    harness: RefreshHarness, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """Its own lock and its own marker, of which it never heard, do not keep the same process waiting."""
    (process,) = harness.processes
    found = await harness.signed_in()
    owner = process.store.locks if word == "take" else process.store
    real = getattr(owner, word)

    async def unheard(*args: Any, **options: Any) -> Any:
        await real(*args, **options)
        monkeypatch.setattr(owner, word, real)
        monkeypatch.setattr(process.store.locks, "release", away)
        raise StoreUnavailableError

    async def away(*_: Any) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(owner, word, unheard)
    assert isinstance(await process.rotate(found), Deferred)
    assert (1, []) == (len(harness.locks()), harness.provider.sent)
    harness.redis.cli("PEXPIRE", *harness.locks(), "600000")
    monkeypatch.setattr(rotation, "SETTLE", 600.0)
    async with asyncio.timeout(60):  # neither the lock's end, nor the moment that others get
        assert isinstance(await process.rotate(found), Rotated)


@pytest.mark.requirement("T-10", "T-14")
@pytest.mark.parametrize("way", ["taken", "lost", "refused", "invalid"])
async def test_redis_is_away_when_the_answer_comes(harness: RefreshHarness, way: str) -> None:
    """New tokens and an end are written when it is back; whatever else came, the session lives on."""
    (process,) = harness.processes
    process.client.plan = [] if way == "invalid" else [way]
    process.client.may_answer.clear()
    harness.provider.killed = way == "invalid"
    found = await harness.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: len(harness.provider.sent) == 1)
        harness.redis.stop()
        process.client.may_answer.set()
        if way in {"lost", "refused"}:
            assert isinstance(await rotating, Deferred)
        harness.redis.start()
        outcome = await rotating
    expected: dict[str, type[Any]] = {"taken": Rotated, "invalid": Over}
    assert isinstance(outcome, expected.get(way, Deferred))
    standing = await process.standing(found)
    assert isinstance(standing, NoSession if way == "invalid" else Found)
    assert 1 == len(harness.provider.sent)


async def test_tokens_that_nobody_takes_are_told_of(
    harness: RefreshHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Redis stayed away for too long: an audit event, and an incident."""
    monkeypatch.setattr(rotation, "_PATIENCE", 0.0)
    (process,) = harness.processes
    process.client.may_answer.clear()
    found = await harness.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: len(harness.provider.sent) == 1)
        harness.redis.stop()
        process.client.may_answer.set()
        assert Deferred(Problem.STORE_UNAVAILABLE, None, "tokens_lost") == await rotating
    assert {"rotation_lost": 1.0} == process.incidents()
    assert "rotation_lost" in "".join(capsys.readouterr())
    harness.redis.start()


# The end of the process


@pytest.mark.requirement("T-03", "T-09")
@pytest.mark.parametrize("moment", ["before it was sent", "after"])
async def test_a_process_that_is_cut_short(
    two: RefreshHarness, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The lock is free, the marker says what may be, who waited is told to come back, another goes on."""
    monkeypatch.setattr(rotation, "SETTLE", 0.05)
    two.provider.grace = True
    here, there = two.processes
    gate = here.client.may_connect if moment == "before it was sent" else here.client.may_answer
    gate.clear()
    found = await two.signed_in()
    async with background(here.rotate(found)) as waiting:
        await until(lambda: here.client.connecting == 1)
        await asyncio.sleep(0)
        await here.tasks.cancel_all()
        assert isinstance(await waiting, Deferred)
    assert [] == two.locks()
    assert "" != two.marker(found)
    assert isinstance(await there.rotate(found), Rotated)
    assert {"resumed_left": 1.0} == there.incidents()


async def test_tokens_that_a_stop_takes_are_told_of(harness: RefreshHarness) -> None:
    """The process ends while it still offers them to a Redis that is away."""
    (process,) = harness.processes
    process.client.may_answer.clear()
    found = await harness.signed_in()
    async with background(process.rotate(found)):
        await until(lambda: len(harness.provider.sent) == 1)
        harness.redis.stop()
        process.client.may_answer.set()
        await until(lambda: process.counted("bff_store_errors_total") > 0)
        await process.tasks.cancel_all()
    assert {"rotation_lost": 1.0} == process.incidents()
    harness.redis.start()


async def test_a_stop_that_a_breaking_connection_hides_is_a_stop(
    harness: RefreshHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client library makes an error of Redis out of it: nobody goes on for five minutes all the same."""
    (process,) = harness.processes
    found = await harness.signed_in()
    saving = asyncio.Event()

    async def hiding(*_: Any, **__: Any) -> Any:
        saving.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreUnavailableError from None

    monkeypatch.setattr(process.store, "replace", hiding)
    async with background(process.rotate(found)):
        await saving.wait()
        async with asyncio.timeout(60):
            await process.tasks.cancel_all()
    assert {"rotation_lost": 1.0} == process.incidents()
