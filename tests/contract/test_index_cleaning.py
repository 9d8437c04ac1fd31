"""Cleaning of the sessions' indexes, on a real redis-server: bounded, and no living session is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.model import EndReason, Session
from bff.session.session_index import SAMPLE
from bff.session.store import SessionStore, Write
from tests.session.sample import NOW, sample_session
from tests.support.network.relay import relay_to
from tests.support.processes.redis import ON_BOTH_SERVERS, RedisServer
from tests.support.settings import redis_settings

pytestmark = ON_BOTH_SERVERS
USER, SID = "bff:user:main:alice", "bff:sid:main:sid-1"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SessionStore]:
    store = SessionStore(redis_settings(url), Metrics())
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[SessionStore]:
    async with opened(redis_server.url) as store:
        yield store


def session(number: int, **changes: Any) -> Session:
    return sample_session(key=f"{number:064x}", **changes)


async def sign_in(store: SessionStore, made: Session) -> None:
    record = {"version": "1", "sub": made.sub, "tokens": f"sealed for {made.key}"}
    assert Write.REPLACED == await store.create(made, record, now=NOW, idle_timeout=1800)


def delete(redis_server: RedisServer, *made: Session) -> None:
    """As an operator does, or the idle end: no index hears of it."""
    with redis_server.client() as client:
        assert len(made) == client.delete(*(f"bff:session:{one.key}" for one in made))


def members(redis_server: RedisServer) -> tuple[set[str], set[str]]:
    """Of the user's index, and of the sign-in's."""
    with redis_server.client() as client:
        return set(client.zrange(USER, 0, -1)), set(client.smembers(SID))


def held(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Stops the store's next sign-in between its indexes and its record: (it is there, it may go on)."""
    there, go_on = asyncio.Event(), asyncio.Event()
    create: Callable[..., Awaitable[Any]] = store._create

    async def waiting(**arguments: Any) -> object:
        there.set()
        await go_on.wait()
        return await create(**arguments)

    monkeypatch.setattr(store, "_create", waiting)
    return there, go_on


async def test_the_next_sign_in_drops_the_members_that_were_deleted(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Eight sessions that were deleted leave nothing behind in either index; the living stay."""
    made = [session(number) for number in range(10)]
    for one in made[:9]:
        await sign_in(store, one)
    delete(redis_server, *made[:8])
    await sign_in(store, made[9])
    living = {made[8].key, made[9].key}
    assert (living, living) == members(redis_server)


async def test_a_large_index_is_cleaned_in_bounded_steps(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Each sign-in looks at 32 members: with 220 dead it drops at most 32, and thirty leave few of them."""
    made = [session(number) for number in range(251)]
    for one in made[:220]:
        await sign_in(store, one)
    delete(redis_server, *made[:220])
    async with relay_to(redis_server.port) as relay, opened(f"redis://127.0.0.1:{relay.port}/0") as counted:
        await sign_in(counted, made[220])
        said = b"".join(relay.asked)
        assert 2 * (SAMPLE - 1) <= said.count(b"EXISTS") <= 2 * 2 * SAMPLE
    for found in members(redis_server):
        assert 221 - SAMPLE <= len(found) <= 221 - SAMPLE + 1
    for one in made[221:]:
        await sign_in(store, one)
    living = {one.key for one in made[220:]}
    for found in members(redis_server):
        assert living <= found
        assert len(found - living) <= 10


async def test_expired_members_of_a_user_are_dropped(store: SessionStore, redis_server: RedisServer) -> None:
    """Those whose end has come go by their score, however many they are."""
    for number in range(40):
        await sign_in(store, session(number, ends=NOW + 100))
    made = session(40, created=NOW + 101, ends=NOW + 3600)
    record = {"version": "1", "sub": made.sub, "tokens": "sealed"}
    assert Write.REPLACED == await store.create(made, record, now=NOW + 101, idle_timeout=1800)
    assert {made.key} == members(redis_server)[0]


async def test_other_users_and_sign_ins_keep_their_indexes(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Cleaning touches the two indexes that the sign-in writes."""
    bob = session(1, sub="bob", sid="sid-2")
    await sign_in(store, bob)
    delete(redis_server, bob)
    await sign_in(store, session(2))
    with redis_server.client() as client:
        assert [bob.key] == client.zrange("bff:user:main:bob", 0, -1)
        assert {bob.key} == client.smembers("bff:sid:main:sid-2")


@pytest.mark.requirement("T-15")
async def test_a_sign_in_under_way_stays_in_its_indexes(
    store: SessionStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cleaner that meets the index before the session is written leaves it: a sign-out of all finds it."""
    slow = session(1)
    async with opened(redis_server.url) as other:
        there, go_on = held(other, monkeypatch)
        late = asyncio.create_task(sign_in(other, slow))  # noqa: TID251 - awaited below
        await there.wait()
        await sign_in(store, session(2))
        assert slow.key in members(redis_server)[0] & members(redis_server)[1]
        go_on.set()
        await late
    await sign_in(store, session(3))
    assert slow.key in members(redis_server)[0] & members(redis_server)[1]
    assert slow.key in await store.index.of_sid("main", "sid-1")


@pytest.mark.requirement("T-15")
async def test_a_cleaner_that_is_late_removes_no_living_session(
    store: SessionStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it sleeps between its looks and its removal: who was dead then is dead for good."""
    slow, dead = session(1), session(2)
    await sign_in(store, dead)
    delete(redis_server, dead)
    async with opened(redis_server.url) as signing, opened(redis_server.url) as cleaning:
        there, go_on = held(signing, monkeypatch)
        late = asyncio.create_task(sign_in(signing, slow))  # noqa: TID251 - awaited below
        await there.wait()
        removing, remove = asyncio.Event(), asyncio.Event()
        removal = cleaning.index._remove

        async def sleeping(*arguments: Any) -> None:
            removing.set()
            await remove.wait()
            await removal(*arguments)

        monkeypatch.setattr(cleaning.index, "_remove", sleeping)
        cleaner = asyncio.create_task(sign_in(cleaning, session(3)))  # noqa: TID251 - awaited below
        await removing.wait()
        go_on.set()
        await late
        remove.set()
        await cleaner
    living = {slow.key, session(3).key}
    assert (living, living) == members(redis_server)


async def test_many_sign_ins_and_ends_at_once_lose_nobody(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """From the moment its sign-in is done until its end a session is in both indexes, at each look."""
    missing: list[str] = []

    async def come_and_look(number: int) -> None:
        made = session(number)
        await sign_in(store, made)
        for _ in range(5):
            found = [await store.index.of_user("main", "alice"), await store.index.of_sid("main", "sid-1")]
            missing.extend(made.key for keys in found if made.key not in keys)
        if number % 2:
            assert await store.end(made, EndReason.LOGOUT)

    await asyncio.gather(*(come_and_look(number) for number in range(60)))
    living = {session(number).key for number in range(0, 60, 2)}
    assert [] == missing
    for found in members(redis_server):
        assert living <= found


async def test_a_sign_in_that_broke_off_is_cleaned_once_its_time_is_over(
    store: SessionStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves its mark, which ends by itself; the next sign-in after that drops the member."""
    broken = session(1)

    async def failing(**_: Any) -> None:
        raise ConnectionError

    async with opened(redis_server.url) as other:
        monkeypatch.setattr(other, "_create", failing)
        with pytest.raises(StoreUnavailableError):
            await sign_in(other, broken)
    mark = f"bff:starting:{broken.key}"
    await sign_in(store, session(2))
    assert broken.key in members(redis_server)[1]
    with redis_server.client() as client:
        assert 0 < client.ttl(mark) <= 300
        client.delete(mark)
    await sign_in(store, session(3))
    assert broken.key not in members(redis_server)[0] | members(redis_server)[1]


async def test_cleaning_that_fails_does_not_fail_the_sign_in(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is written: the next sign-in cleans."""

    async def failing(*_: object) -> None:
        raise StoreUnavailableError("Redis: gone")

    monkeypatch.setattr(store.index, "clean", failing)
    await sign_in(store, session(1))
    assert await store.load(session(1).key) is not None
