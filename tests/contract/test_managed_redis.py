"""Redis as it is sold: commands that are refused, and connections that are forgotten."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bff.observe.metrics import Metrics
from bff.serve.redis_check import look_at_redis
from bff.session import redis_connection
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.model import EndReason
from bff.session.store import SessionStore, Write
from bff.settings.model import RedisSettings
from tests.session.sample import NOW, sample_session
from tests.support.network.relay import relay_to
from tests.support.processes.redis import RedisServer
from tests.support.settings import redis_settings
from tests.support.wait import until

RECORD = {"version": "1", "sub": "alice", "tokens": "sealed"}


def settings_for(url: str) -> RedisSettings:
    return redis_settings(url)


@asynccontextmanager
async def followed(settings: RedisSettings) -> AsyncIterator[tuple[SessionStore, InvalidationFeed]]:
    store = SessionStore(settings, Metrics())
    feed = InvalidationFeed(settings, prefix=store.watched, notes=store.watched_notes)
    feed.subscribe(store.renewal)
    await feed.start()
    try:
        yield store, feed
    finally:
        await feed.aclose()
        await store.aclose()


def idle(store: SessionStore) -> list[Any]:
    """The connections that are kept for commands."""
    pool: Any = store._redis.connection_pool
    return list(pool._available_connections)


@pytest.mark.parametrize(
    ("refused", "trusted", "told"),
    [
        ("-config", True, {"redis eviction"}),
        ("-role", True, set()),
        ("-info", True, {"redis"}),
        ("-role -info", False, {"redis", "redis changes"}),
        ("-client|tracking", False, {"redis changes"}),
        ("-client", False, {"redis changes"}),
        ("-wait", True, {"redis replicas"}),
        ("-time", True, {"redis limits"}),
        ("-config -role -info -client -wait -time", False,
         {"redis", "redis eviction", "redis changes", "redis replicas", "redis limits"}),
    ],
)  # fmt: skip
async def test_what_a_service_refuses(
    redis_server: RedisServer, refused: str, *, trusted: bool, told: set[str]
) -> None:
    """Sessions begin and end without it; the feed says if it cannot follow, `bff check` what is missing."""
    redis_server.cli("ACL", "SETUSER", "tenant", "on", ">pw", "~*", "&*", "+@all", *refused.split())
    settings = settings_for(redis_server.url.replace("//", "//tenant:pw@"))
    session = sample_session()
    async with followed(settings) as (store, feed):
        assert Write.REPLACED == await store.create(session, RECORD, now=NOW, idle_timeout=1800)
        await until(lambda: feed.trusted if trusted else "does not track" in str(feed.problem))
        assert (await store.readiness()).writable
        assert await store.end(session, EndReason.LOGOUT)
        assert None is await store.load(session.key)
    found = await look_at_redis(settings)
    assert all(check.ok for check in found)
    assert told == {check.name for check in found if check.fix or "unknown" in check.detail}


async def test_connections_that_are_forgotten(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands between lets nothing pass on an idle connection, and does not say so."""
    async with relay_to(redis_server.port) as relay:
        settings = settings_for(f"redis://127.0.0.1:{relay.port}/0")
        async with followed(settings) as (store, _):
            assert await store.one_time.claim("code", "1", lifetime=60)
            assert None is await store.load("k")
            relay.silence(b"jti")
            relay.silence(b"HMGET")
            monkeypatch.setattr(redis_connection, "IDLE_FOR", 0.0)
            assert await store.one_time.claim("code", "2", lifetime=60)
            assert None is await store.load("k")


async def test_connections_that_are_cut_while_nobody_uses_them(redis_server: RedisServer) -> None:
    """A service ends them after a minute: no call pays for it, and the feed's own is never idle."""
    async with (
        relay_to(redis_server.port) as relay,
        followed(settings_for(f"redis://127.0.0.1:{relay.port}/0")) as (store, feed),
    ):
        await until(lambda: feed.trusted)
        assert await store.one_time.claim("code", "1", lifetime=60)
        assert None is await store.load("k")
        relay.cut(b"jti")
        relay.cut(b"HMGET")
        await until(lambda: all(each._reader.at_eof() for each in idle(store)))
        assert await store.one_time.claim("code", "2", lifetime=60)
        assert None is await store.load("k")
        asked = sum(b"ROLE" in each for each in relay.asked)
        await until(lambda: sum(b"ROLE" in each for each in relay.asked) > asked)
        assert feed.trusted
