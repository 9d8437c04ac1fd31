"""A write that was done and whose answer was lost; the life of an index."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.store import SessionStore, Write
from tests.session.sample import NOW, sample_session
from tests.support.processes.redis import RedisServer
from tests.support.settings import redis_settings

FIRST = sample_session()
SECOND = replace(FIRST, version=2)


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[SessionStore]:
    store = SessionStore(redis_settings(redis_server.url), Metrics())
    yield store
    await store.aclose()


def record(version: int, write: str) -> dict[str, str]:
    return {"version": str(version), "sub": FIRST.sub, "tokens": f"sealed for {write}"}


@pytest.mark.requirement("T-14")
@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_answer_is_looked_up_at_once(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    """The record tells whether the write was done: Replaced, or unknown and to be repeated."""
    await store.create(FIRST, record(1, "w1"), now=NOW, idle_timeout=1800)
    script = store._replace

    async def loses_its_answer(**arguments: Any) -> None:
        if done:
            await script(**arguments)
        raise RedisTimeoutError("Timeout reading from socket")

    monkeypatch.setattr(store, "_replace", loses_its_answer)
    if done:
        assert Write.REPLACED == await store.replace(
            SECOND, record(2, "w2"), expected_version=1, now=NOW, idle_timeout=1800
        )
    else:
        with pytest.raises(StoreUnavailableError):
            await store.replace(SECOND, record(2, "w2"), expected_version=1, now=NOW, idle_timeout=1800)


@pytest.mark.requirement("B-22", "L-05")
async def test_an_index_outlives_every_session_in_it(store: SessionStore, redis_server: RedisServer) -> None:
    """A session that ends sooner does not shorten the life of what names a longer one."""
    await store.create(FIRST, record(1, "w1"), now=NOW, idle_timeout=1800)
    short = replace(FIRST, key="f" * 64, ends=NOW + 60)
    await store.create(short, record(1, "w2"), now=NOW, idle_timeout=60)
    with redis_server.client() as client:
        assert 3590 <= client.ttl("bff:user:main:alice") <= 3600
        assert 3590 <= client.ttl("bff:sid:main:sid-1") <= 3600
        assert {FIRST.key, short.key} == set(client.zrange("bff:user:main:alice", 0, -1))
