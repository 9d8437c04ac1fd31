"""Endings that wait for a replica, on two real servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.observe.metrics import Metrics
from bff.session.model import EndReason, Session
from bff.session.store import SessionStore, Write
from tests.session.sample import NOW, sample_session
from tests.support.processes.redis import RedisServer
from tests.support.processes.redis import redis_server as another_server
from tests.support.settings import redis_settings
from tests.support.wait import until

SOON = 0.05  # seconds to wait for a replica that does not answer


@pytest.fixture
async def replica(redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    """A second server that follows the first."""
    redis_server.cli("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    with another_server() as replica, replica.client() as client:
        client.replicaof("127.0.0.1", str(redis_server.port))
        await until(lambda: client.info("replication").get("master_link_status") == "up")
        await until(lambda: "state=online" in redis_server.cli("INFO", "replication"))  # at its master
        yield replica


@asynccontextmanager
async def store_at(url: str, **settings: Any) -> AsyncIterator[SessionStore]:
    store = SessionStore(redis_settings(url, **settings), Metrics())
    try:
        yield store
    finally:
        await store.aclose()


async def sign_in(store: SessionStore, number: int) -> Session:
    made = sample_session(key=f"{number:016x}{0:048x}")
    record = {"version": "1", "sub": made.sub, "tokens": f"sealed for {made.key}"}
    assert Write.REPLACED == await store.create(made, record, now=NOW, idle_timeout=1800)
    return made


async def endings(store: SessionStore) -> list[str]:
    """Ends a session by its key and one at its version; returns the reasons of those that no replica has."""
    plain, fenced = await sign_in(store, 1), await sign_in(store, 2)
    with capture_logs() as logs:
        assert await store.end(plain, EndReason.LOGOUT)
        assert await store.end(fenced, EndReason.INVALID_GRANT, fence="version")
        assert not await store.end(plain, EndReason.LOGOUT)
    return [line["reason"] for line in logs if line["event"] == "ending_not_replicated"]


def waits(server: RedisServer) -> int:
    """How often WAIT was called."""
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_wait", {"calls": 0})["calls"])


async def test_an_ending_waits_for_the_replica(redis_server: RedisServer, replica: RedisServer) -> None:
    """It is answered when the replica has it; where that hangs the ending stands, and the audit log tells."""
    async with store_at(redis_server.url, wait_timeout=10) as store:
        assert [] == await endings(store)
    assert 3 == waits(redis_server)
    assert "0" == replica.cli("EXISTS", *(f"bff:session:{number:016x}{0:048x}" for number in (1, 2)))
    replica.pause()
    async with store_at(redis_server.url, wait_timeout=SOON) as store:
        assert ["logout", "invalid_grant"] == await endings(store)
    async with store_at(redis_server.url, wait_for_replicas=0) as store:
        assert [] == await endings(store)
    replica.resume()
    async with store_at(redis_server.url, wait_for_replicas=2, wait_timeout=SOON) as store:
        assert ["logout", "invalid_grant"] == await endings(store), "there is one replica"


async def test_nothing_is_waited_for_without_replicas(redis_server: RedisServer) -> None:
    """An account that may not ask for replicas, or not wait, ends sessions all the same."""
    async with store_at(redis_server.url) as store:
        assert [] == await endings(store)
    assert 0 == waits(redis_server)
    redis_server.cli("ACL", "SETUSER", "small", "on", ">pw", "~*", "&*", "+@all", "-role", "-wait")
    url = redis_server.url.replace("//", "//small:pw@")
    async with store_at(url) as store:
        assert [] == await endings(store)
    async with store_at(url, wait_for_replicas=1, wait_timeout=SOON) as store:
        assert ["logout", "invalid_grant"] == await endings(store)
