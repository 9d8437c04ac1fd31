"""The lock of a session, by one process' own reckoning."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session import rotation_lock as module
from bff.session.invalidation_feed import steady_now
from bff.session.rotation_lock import LEASE, SessionLock
from bff.session.store import SessionStore
from bff.settings.sections import RedisSettings
from tests.support.processes.redis import RedisServer
from tests.support.settings import redis_settings
from tests.support.tasks import background
from tests.support.wait import until

PACE = module._PROLONG_EVERY, module._TRY_AGAIN


def test_a_lease_has_room_for_a_few_tries() -> None:
    """Redis that is away for a moment costs no lock: it is asked again several times before the end."""
    every, again = PACE
    assert every + 5 * again < LEASE - module._MARGIN


def test_a_lease_has_room_for_an_answer_that_does_not_come() -> None:
    """By default the lock is still held when it is asked for once more after `redis.timeout`."""
    every, again = PACE
    assert every + RedisSettings().timeout + again < LEASE - module._MARGIN


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is prolonged every few milliseconds."""
    monkeypatch.setattr(module, "_PROLONG_EVERY", 0.01)
    monkeypatch.setattr(module, "_TRY_AGAIN", 0.01)


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[SessionStore]:
    store = SessionStore(redis_settings(redis_server.url), Metrics())
    yield store
    await store.aclose()


@pytest.mark.requirement("T-12")
async def test_it_is_held_while_it_is_prolonged(
    store: SessionStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each word of Redis counts from its question; without one it is over before its end in Redis."""
    now = steady_now()
    monkeypatch.setattr(module, "steady_now", lambda: now)
    lock = SessionLock(store.locks, "k")
    assert not lock.held
    assert await lock.take()
    now += LEASE - 1
    assert lock.held
    async with background(lock.prolong()):
        redis_server.cli("PEXPIRE", "bff:lock:k", "2000")
        await until(lambda: int(redis_server.cli("PTTL", "bff:lock:k")) > 4000)
        await asyncio.sleep(0.05)
        now += LEASE - 1
        assert lock.held
    now += LEASE
    assert not lock.held
    assert await lock.take() is False
    await lock.release()
    assert await lock.take()


async def test_one_that_ran_out_keeps_others_off_and_is_not_held(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Redis forgot it, and nobody has it: it is taken again, and vouches for nothing."""
    lock, other = SessionLock(store.locks, "k"), SessionLock(store.locks, "k")
    assert await lock.take()
    async with background(lock.prolong()):
        redis_server.cli("DEL", "bff:lock:k")
        await until(lambda: redis_server.cli("EXISTS", "bff:lock:k") == "1")
        assert not lock.held
        assert not await other.take()
    await lock.release()
    assert await lock.take()
    assert lock.held


async def test_one_that_somebody_else_took_is_theirs(store: SessionStore, redis_server: RedisServer) -> None:
    """It is neither prolonged nor freed any more."""
    lock = SessionLock(store.locks, "k")
    assert await lock.take()
    redis_server.cli("SET", "bff:lock:k", "another")
    async with background(lock.prolong()) as prolonging:
        await prolonging
    assert not lock.held
    await lock.release()
    assert "another" == redis_server.cli("GET", "bff:lock:k")


@pytest.mark.requirement("T-10")
async def test_redis_away_takes_no_lock_before_its_time(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """It is prolonged as soon as Redis is back; who gives it up while Redis is away leaves it to run out."""
    lock = SessionLock(store.locks, "k")
    assert await lock.take()
    async with background(lock.prolong()) as prolonging:
        redis_server.stop()
        await asyncio.sleep(0.05)
        assert lock.held
        assert not prolonging.done()
        redis_server.start()
        redis_server.cli("PEXPIRE", "bff:lock:k", "3000")
        await until(lambda: int(redis_server.cli("PTTL", "bff:lock:k")) > 4000)
        assert lock.held
    redis_server.stop()
    await lock.release()
    redis_server.start()
    assert "1" == redis_server.cli("EXISTS", "bff:lock:k")


@pytest.mark.requirement("T-10")
async def test_what_a_process_may_have_is_its_own_next_time(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Redis did not say whether the lock was given up: the next attempt need not wait, others do."""
    unsure: dict[str, tuple[str, ...]] = {}
    first, second = SessionLock(store.locks, "k", unsure), SessionLock(store.locks, "k", unsure)
    assert await first.take()
    redis_server.stop()
    await first.release()
    with pytest.raises(StoreUnavailableError):
        await second.take()
    redis_server.start()
    assert not await SessionLock(store.locks, "k").take()
    assert await second.take()
    assert second.held
    await first.release()  # a late word of a former attempt frees nothing
    assert not await SessionLock(store.locks, "k", unsure).take()
    await second.release()
    assert await SessionLock(store.locks, "k", unsure).take()
    assert {} == unsure


async def test_what_somebody_else_has_is_not_inherited(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """A lock that was given up unheard, and taken by another process since, is theirs."""
    unsure: dict[str, tuple[str, ...]] = {"k": ("former",)}
    redis_server.cli("SET", "bff:lock:k", "another")
    assert not await SessionLock(store.locks, "k", unsure).take()
    assert {} == unsure
    assert "another" == redis_server.cli("GET", "bff:lock:k")


async def test_what_a_process_is_unsure_of_is_bounded(store: SessionStore, redis_server: RedisServer) -> None:
    """However often a dead Redis is asked."""
    unsure: dict[str, tuple[str, ...]] = {}
    redis_server.stop()
    for _ in range(20):
        with pytest.raises(StoreUnavailableError):
            await SessionLock(store.locks, "k", unsure).take()
    assert 8 == len(unsure["k"])
    redis_server.start()


class _Swallowing:
    """A store whose library takes a cancellation for something else: `outcome` says for what."""

    def __init__(self, outcome: bool | None) -> None:
        self.outcome = outcome
        self.asked = 0
        self.asking = asyncio.Event()

    async def take(self, *_: object, **__: object) -> bool:
        return True

    async def prolong(self, *_: object, **__: object) -> bool:
        self.asked += 1
        self.asking.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.outcome is None:
                raise StoreUnavailableError("Redis: ConnectionError") from None
        return bool(self.outcome)

    async def release(self, *_: object) -> None:
        return


OUTCOMES = pytest.mark.parametrize("outcome", [None, True, False], ids=["away", "prolonged", "taken again"])


@asynccontextmanager
async def cancelled_in_vain(
    outcome: bool | None,
) -> AsyncIterator[tuple[_Swallowing, SessionLock, "asyncio.Task[None]"]]:
    """A lock whose prolonging was cancelled while the store swallows that."""
    store = _Swallowing(outcome)
    lock = SessionLock(store, "key")  # type: ignore[arg-type] # what it asks of locks
    assert await lock.take()
    async with background(lock.prolong()) as prolonging:
        await store.asking.wait()
        prolonging.cancel()
        yield store, lock, prolonging


@OUTCOMES
async def test_a_lock_that_was_given_up_is_prolonged_no_more(outcome: bool | None) -> None:
    """Not even where the cancellation of whoever prolongs it got lost on its way."""
    async with cancelled_in_vain(outcome) as (store, lock, prolonging):
        await lock.release()
        await asyncio.wait([prolonging], timeout=20)
        assert prolonging.done()
    assert 1 == store.asked


@OUTCOMES
async def test_a_cancellation_that_gets_lost_ends_the_prolonging_all_the_same(outcome: bool | None) -> None:
    """Nobody has given the lock up, and the store says nothing of a cancellation."""
    async with cancelled_in_vain(outcome) as (store, _, prolonging):
        await asyncio.wait([prolonging], timeout=20)
        assert prolonging.cancelled()
    assert 1 == store.asked


@pytest.mark.requirement("T-12")
async def test_a_lease_counts_from_its_question_and_ends_before_its_end(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis takes two seconds to answer: what is left is the lease without them, and without the margin."""
    now = asked = steady_now()
    monkeypatch.setattr(module, "steady_now", lambda: now)
    take, prolong = store.locks.take, store.locks.prolong
    prolonged = asyncio.Event()

    async def slow_take(*args: Any, **options: Any) -> bool:
        nonlocal now
        taken = await take(*args, **options)
        now += 2
        return taken

    async def slow_prolong(*args: Any, **options: Any) -> bool:
        nonlocal now
        kept = await prolong(*args, **options)
        now += 2
        prolonged.set()
        await asyncio.Event().wait() if prolongs.pop() else None
        return kept

    prolongs = [True, False]
    monkeypatch.setattr(store.locks, "take", slow_take)
    monkeypatch.setattr(store.locks, "prolong", slow_prolong)
    lock = SessionLock(store.locks, "k")
    assert await lock.take()
    assert (5.0, 0.5) == (LEASE, module._MARGIN)
    for at, held in ((2.0, True), (4.49, True), (4.5, False), (4.9, False), (5.1, False)):
        now = asked + at
        assert held is lock.held, at
    now = asked = asked + 1
    async with background(lock.prolong()):
        await prolonged.wait()
        prolonged.clear()
        await prolonged.wait()  # the second is under way: the first is taken note of
        for at, held in ((4.49, True), (4.5, False)):
            now = asked + at
            assert held is lock.held, at
    await lock.release()
