"""Ending sessions by the hundred, on a real redis-server: each as if it were ended alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bff.observe.metrics import Metrics
from bff.session.model import EndReason, Session
from bff.session.store import SessionStore, Write
from tests.session.sample import NOW, sample_session
from tests.support.network.relay import relay_to
from tests.support.processes.redis import ON_EACH_SERVER, RedisServer
from tests.support.settings import redis_settings

pytestmark = ON_EACH_SERVER


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[SessionStore]:
    store = SessionStore(redis_settings(redis_server.url), Metrics())
    yield store
    await store.aclose()


async def sign_in(store: SessionStore, number: int, **changes: Any) -> Session:
    made = sample_session(key=f"{number:016x}{0:048x}", **changes)
    record = {"version": "1", "sub": made.sub, "tokens": f"sealed for {made.key}"}
    assert Write.REPLACED == await store.create(made, record, now=NOW, idle_timeout=1800)
    return made


def whose(*made: Session) -> dict[str, tuple[str, str, str | None]]:
    return {one.key: (one.provider, one.sub, one.sid) for one in made}


@pytest.mark.requirement("B-22")
async def test_all_of_it_goes_and_the_reason_stays(store: SessionStore, redis_server: RedisServer) -> None:
    """Records, index entries and marks; who is not named lives, and a key that names nothing is no harm."""
    made = [await sign_in(store, number) for number in range(5)]
    others = [await sign_in(store, 9, sub="bob", sid=None)]
    missing = {"f" * 64: ("main", "alice", None)}
    ended = await store.end_many(whose(*made) | missing, EndReason.OPERATOR)
    assert {one.key for one in made} == ended
    assert set() == await store.end_many(whose(*made), EndReason.LOGOUT)
    with redis_server.client() as client:
        assert [f"bff:session:{others[0].key}"] == list(client.scan_iter("bff:session:*"))
        assert [f"bff:until:{others[0].key[:16]}"] == list(client.scan_iter("bff:until:*"))
        assert 0 == client.exists("bff:user:main:alice", "bff:sid:main:sid-1")
        assert {"operator"} == {client.get(f"bff:ended:{one.key}") for one in made}


async def test_earlier_notes_keep_their_word_unless_they_are_outdated(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """A reason that was there stays; one about a former version gives way."""
    ending, living = await sign_in(store, 1), await sign_in(store, 2)
    with redis_server.client() as client:
        client.set(f"bff:ended:{ending.key}", "logout", ex=60)
        client.set(f"bff:ended:{living.key}", "invalid_grant 0", ex=60)
        assert {ending.key, living.key} == await store.end_many(whose(ending, living), EndReason.OPERATOR)
        assert "logout" == client.get(f"bff:ended:{ending.key}")
        assert "operator" == client.get(f"bff:ended:{living.key}")


async def test_something_else_in_an_indexs_place_stops_nothing(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """The session ends all the same."""
    made = await sign_in(store, 1)
    with redis_server.client() as client:
        client.set("bff:user:main:alice", "a string")
    assert {made.key} == await store.end_many(whose(made), EndReason.OPERATOR)


async def test_a_large_index_is_read_in_parts(store: SessionStore, redis_server: RedisServer) -> None:
    """All members are told of, a part at a time, also while those that were told of are taken out."""
    keys = [f"{number:064x}" for number in range(3000)]
    with redis_server.client() as client:
        client.zadd("bff:user:main:alice", dict.fromkeys(keys, NOW))
    seen: list[str] = []
    lasts: list[bool] = []
    async for part, last in store.index.scan_user("main", "alice"):
        lasts.append(last)
        seen += part
        await store.index.leave(dict.fromkeys(part, ("main", "alice", None)))
    assert len(lasts) > 1
    assert [len(lasts) - 1] == [number for number, last in enumerate(lasts) if last]
    assert set(keys) == set(seen)


async def test_each_command_is_on_one_key(redis_server: RedisServer) -> None:
    """No DEL of several, no transaction, no script: a cluster takes it."""
    async with relay_to(redis_server.port) as relay:
        store = SessionStore(redis_settings(f"redis://127.0.0.1:{relay.port}/0"), Metrics())
        made = [await sign_in(store, number) for number in range(3)]
        relay.asked.clear()
        assert 3 == len(await store.end_many(whose(*made), EndReason.OPERATOR))
        said = b"".join(relay.asked)
        await store.aclose()
    assert 6 == said.count(b"*2\r\n$3\r\nDEL\r\n"), "three sessions, three marks"
    for several in (b"MULTI", b"EVAL", b"UNLINK", b"*3\r\n$3\r\nDEL"):
        assert several not in said
