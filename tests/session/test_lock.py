"""The lock of a session, by one process' own reckoning."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from bff.observe.metrics import Metrics
from bff.session import lock as module
from bff.session.changes import steady_now
from bff.session.lock import LEASE, SessionLock
from bff.session.store import SessionStore
from bff.settings.model import RedisSettings
from tests.support.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is prolonged every few milliseconds."""
    monkeypatch.setattr(module, "_PROLONG_EVERY", 0.01)
    monkeypatch.setattr(module, "_TRY_AGAIN", 0.01)


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[SessionStore]:
    store = SessionStore(RedisSettings(url=SecretStr(redis_server.url)), Metrics())
    yield store
    await store.aclose()


@pytest.mark.requirement("T-12")
async def test_it_is_held_while_it_is_prolonged(
    store: SessionStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each word of Redis counts from its question; without one it is over before its end in Redis."""
    now = steady_now()
    monkeypatch.setattr(module, "steady_now", lambda: now)
    lock = SessionLock(store, "k")
    assert not lock.held
    assert await lock.take()
    now += LEASE - 1
    assert lock.held
    async with background(lock.prolong()):
        redis_server.cli("PEXPIRE", "bff:lock:k", "60")
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
    lock, other = SessionLock(store, "k"), SessionLock(store, "k")
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
    lock = SessionLock(store, "k")
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
    lock = SessionLock(store, "k")
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
