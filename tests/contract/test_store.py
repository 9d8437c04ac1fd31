"""The store's promises, on a real redis-server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.model import EndReason, Refreshing, Session
from bff.session.store import SessionStore, Write
from tests.contract.cached import noted
from tests.session.sample import NOW, sample_session
from tests.support.processes.redis import ON_EACH_SERVER, RedisServer
from tests.support.settings import PATIENCE, redis_settings

pytestmark = ON_EACH_SERVER
SESSION = sample_session()
KEY = f"bff:session:{SESSION.key}"
UNTIL = f"bff:until:{SESSION.key[:16]}"


def store_of(server: RedisServer, patience: float) -> SessionStore:
    return SessionStore(redis_settings(server.url, timeout=patience), Metrics())


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[SessionStore]:
    store = store_of(redis_server, PATIENCE)
    yield store
    await store.aclose()


def record(session: Session = SESSION, write: str = "w1") -> dict[str, str]:
    """A record as far as the store looks at it."""
    ends = f"{session.ends:.0f}"
    return {
        "version": str(session.version),
        "sub": session.sub,
        "ends": ends,
        "tokens": f"sealed for {write}",
    }


async def created(store: SessionStore) -> None:
    assert Write.REPLACED == await store.create(SESSION, record(), now=NOW, idle_timeout=1800)


async def test_a_session_is_written_with_its_indexes_and_every_key_has_an_end(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Hash, user index and sid index are there, as the operator expects them, and all of them expire."""
    await created(store)
    with redis_server.client() as client:
        assert {KEY, "bff:user:main:alice", "bff:sid:main:sid-1", UNTIL} == set(client.keys("*"))
        assert 5390 <= client.ttl(UNTIL) <= 5400
        assert [(SESSION.key, SESSION.ends)] == client.zrange("bff:user:main:alice", 0, -1, withscores=True)
        assert {SESSION.key} == client.smembers("bff:sid:main:sid-1")
        assert 1790 <= client.ttl(KEY) <= 1800
        assert 3590 <= client.ttl("bff:user:main:alice") <= 3600
        assert 3590 <= client.ttl("bff:sid:main:sid-1") <= 3600


async def test_odd_names_make_no_odd_keys(store: SessionStore, redis_server: RedisServer) -> None:
    """A `sub` with colons, blanks or line ends cannot reach another key."""
    odd = sample_session(sub="a:b c\r\n*", sid="s:1")
    await store.create(odd, record(odd), now=NOW, idle_timeout=60)
    with redis_server.client() as client:
        assert client.exists("bff:user:main:a%3Ab%20c%0D%0A%2A", "bff:sid:main:s%3A1") == 2


async def test_a_new_session_keeps_one_table(store: SessionStore, redis_server: RedisServer) -> None:
    """However many fields it has, reading it gives no memory back: there is no former table any more."""
    for more in range(10):
        session = sample_session(key=f"{more:064}")
        fields = {
            **record(session),
            "tokens": "x" * 100,
            **{f"claim:{number}": "x" for number in range(more)},
        }
        fields |= dict.fromkeys(("provider", "sid", "created", "ends", "seen", "name", "ua", "ip"), "x")
        await store.create(session, fields, now=NOW, idle_timeout=1800)
        with redis_server.client() as client:
            name = f"bff:session:{session.key}"
            before = client.memory_usage(name, samples=0)
            client.hmget(name, ["version"] * 64)
            assert before == client.memory_usage(name, samples=0), len(fields)


async def test_create_never_overwrites(store: SessionStore) -> None:
    """A second session under the same key is refused; the same write again is recognised."""
    await created(store)
    assert Write.REPLACED == await store.create(SESSION, record(), now=NOW, idle_timeout=60)
    assert Write.STALE == await store.create(SESSION, record(write="w2"), now=NOW, idle_timeout=60)


@pytest.mark.requirement("T-04")
async def test_no_update_recreates_a_session(store: SessionStore, redis_server: RedisServer) -> None:
    """After `redis-cli DEL` every update says Gone, and the session stays gone."""
    await created(store)
    assert "1" == redis_server.cli("DEL", KEY)
    newer = replace(SESSION, version=2)
    outcomes = [
        await store.replace(newer, record(newer, "w2"), expected_version=1, now=NOW, idle_timeout=1800),
        await store.mark_refreshing(SESSION.key, Refreshing(NOW, "7"), expected_version=1),
    ]
    assert [Write.GONE] * 2 == outcomes
    assert not await noted(store, SESSION, f"{NOW:.0f}", now=NOW, idle_timeout=60)
    assert await store.load(SESSION.key) is None


@pytest.mark.parametrize(
    ("ends", "left"),
    [
        ("", 1800),
        ("soon", 1800),
        ("nan", 1800),
        (None, 1800),
        (f"{NOW + 600.0007:.4f}", 600),
        (f"{NOW - 9000:.0f}", 0),
    ],
)
async def test_a_use_of_a_record_whose_end_was_edited(
    store: SessionStore, redis_server: RedisServer, ends: str | None, left: int
) -> None:
    """It lives for the idle timeout at most, whatever stands there, and for a moment behind its end."""
    await created(store)
    with redis_server.client() as client:
        assert client.hdel(KEY, "ends") if ends is None else client.hset(KEY, "ends", ends) == 0
        assert await noted(store, SESSION, f"{NOW:.0f}", now=NOW, idle_timeout=1800)
        await store.uses.settled(30)
        assert left - 10 <= client.ttl(KEY) <= left
        assert left + 3590 <= client.ttl(UNTIL) <= left + 3600


@pytest.mark.parametrize("told", [False, True])
async def test_a_save_that_moves_the_end_moves_its_mark(
    store: SessionStore, redis_server: RedisServer, *, told: bool
) -> None:
    """A mark that somebody took away, having told of the session's end, stays away."""
    await created(store)
    if told:
        assert "1" == redis_server.cli("DEL", UNTIL)
    sooner = replace(SESSION, version=2, ends=NOW + 600)
    await store.replace(sooner, record(sooner, "w2"), expected_version=1, now=NOW, idle_timeout=1800)
    with redis_server.client() as client:
        assert 590 <= client.ttl(KEY) <= 600
        left = client.ttl(UNTIL)
    assert -2 == left if told else 4190 <= left <= 4200


@pytest.mark.requirement("T-05")
async def test_only_the_expected_version_is_replaced(store: SessionStore) -> None:
    """Two writers with the same expectation: the first wins, the second is told so."""
    await created(store)
    second = replace(SESSION, version=2)
    assert Write.REPLACED == await store.replace(
        second, record(second, "w2"), expected_version=1, now=NOW, idle_timeout=1800
    )
    assert Write.STALE == await store.replace(
        second, record(second, "w3"), expected_version=1, now=NOW, idle_timeout=1800
    )
    assert Write.STALE == await store.mark_refreshing(SESSION.key, None, expected_version=1)
    loaded = await store.load(SESSION.key)
    assert loaded is not None
    assert ("2", "sealed for w2") == (loaded["version"], loaded["tokens"])


async def test_of_many_writers_one_wins(store: SessionStore) -> None:
    """The compare-and-set is atomic."""
    await created(store)
    second = replace(SESSION, version=2)
    outcomes = await asyncio.gather(
        *(
            store.replace(second, record(second, f"w{n}"), expected_version=1, now=NOW, idle_timeout=1800)
            for n in range(2, 32)
        )
    )
    assert 1 == outcomes.count(Write.REPLACED)
    assert 29 == outcomes.count(Write.STALE)


@pytest.mark.requirement("T-14")
async def test_a_repeated_write_is_recognised_as_done(store: SessionStore) -> None:
    """The same write id again is Replaced, not Stale: the answer to the first may have been lost."""
    await created(store)
    second = replace(SESSION, version=2)
    for _ in range(3):
        outcome = await store.replace(
            second, record(second, "w2"), expected_version=1, now=NOW, idle_timeout=1800
        )
        assert Write.REPLACED == outcome


@pytest.mark.requirement("B-21")
async def test_the_idle_timeout_slides_and_never_passes_the_end(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """A touch prolongs by the idle timeout, but not beyond `ends`."""
    await created(store)
    with redis_server.client() as client:
        await noted(store, SESSION, f"{NOW + 10:.0f}", now=NOW + 10, idle_timeout=2400)
        assert 2390 <= client.ttl(KEY) <= 2400
        assert f"{NOW + 10:.0f}" == client.hget(KEY, "seen")
        await noted(store, SESSION, f"{NOW + 3500:.0f}", now=NOW + 3500, idle_timeout=2400)
        assert 90 <= client.ttl(KEY) <= 100


@pytest.mark.requirement("B-21", "T-18")
@pytest.mark.parametrize(
    ("expected", "times"),
    [
        (1800, (0, 0, 7200)),
        (1700, (0, 100, 7200)),  # a save is no use of the session
        (1800, (100, 100, 7200)),
        (1500, (0, 0, 1500)),
        (1800, (0, 0, 1800)),
        (1800, (200, 100, 7200)),  # noted by a process whose clock is ahead
        (20, (1700, 1700, 1720)),
    ],
)
async def test_a_save_sets_the_idle_end_anew(
    store: SessionStore, redis_server: RedisServer, expected: int, times: tuple[float, float, float]
) -> None:
    """The TTL is what is left of the idle time since the last use, `ends` at most: longer or shorter."""
    seen, now, ends = times
    short = replace(SESSION, ends=NOW + 6)
    assert Write.REPLACED == await store.create(short, record(short), now=NOW, idle_timeout=1800)
    with redis_server.client() as client:
        for version, ttl in ((2, 5000), (3, 5)):
            client.hset(KEY, "seen", f"{NOW + seen:.0f}")
            client.expire(KEY, ttl)
            saved = replace(SESSION, version=version, ends=NOW + ends)
            written = {**record(saved, f"w{version}"), "seen": "1"}
            outcome = await store.replace(
                saved, written, expected_version=version - 1, now=NOW + now, idle_timeout=1800
            )
            assert Write.REPLACED == outcome
            assert expected - 10 <= client.ttl(KEY) <= expected
            assert f"{NOW + seen:.0f}" == client.hget(KEY, "seen")  # a later note than the save's stays


@pytest.mark.requirement("B-22")
async def test_ending_leaves_the_reason_and_nothing_else(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """The session and its index entries are gone; the reason stays for an hour."""
    await created(store)
    assert await store.end(SESSION, EndReason.LOGOUT)
    assert not await store.end(SESSION, EndReason.LOGOUT)
    assert EndReason.LOGOUT == await store.endings.why(SESSION.key)
    with redis_server.client() as client:
        assert {f"bff:ended:{SESSION.key}"} == set(client.keys("*"))
        assert 3500 < client.ttl(f"bff:ended:{SESSION.key}") <= 3600


@pytest.mark.requirement("O-02")
async def test_a_one_time_value_is_taken_once(store: SessionStore) -> None:
    """Of fifty who claim the same value at once, one gets it."""
    taken = await asyncio.gather(*(store.one_time.claim("state", "x", lifetime=60) for _ in range(50)))
    assert 1 == taken.count(True)


@pytest.mark.requirement("T-10")
async def test_an_outage_is_no_answer(store: SessionStore, redis_server: RedisServer) -> None:
    """Stopped or frozen, Redis makes every call fail as unavailable; afterwards the data is there."""
    await created(store)
    redis_server.stop()
    with pytest.raises(StoreUnavailableError):
        await store.load(SESSION.key)
    redis_server.start()
    assert await store.load(SESSION.key) is not None
    redis_server.pause()
    impatient = store_of(redis_server, 0.5)
    with pytest.raises(StoreUnavailableError):
        await impatient.load(SESSION.key)
    await impatient.aclose()
    redis_server.resume()
    assert await store.load(SESSION.key) is not None


@pytest.mark.requirement("B-31")
async def test_a_foreign_value_is_a_record_that_does_not_open(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Another type, or bytes that are no text, under a session's key: no crash, and no session."""
    with redis_server.client(decode_responses=False) as client:
        client.set(KEY, "x")
        assert {} == await store.load(SESSION.key)
        client.delete(KEY)
        client.hset(KEY, "sub", b"\xff\xfe")
        assert {"sub": "\ufffd\ufffd"} == await store.load(SESSION.key)


async def test_readiness_tells_the_eviction_policy(store: SessionStore, redis_server: RedisServer) -> None:
    """A Redis that would throw sessions away says so; one that cannot write fails."""
    assert "noeviction" == (await store.readiness()).eviction_policy
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert "allkeys-lru" == (await store.readiness()).eviction_policy
        client.config_set("min-replicas-to-write", 1)
        with pytest.raises(StoreUnavailableError):
            await store.readiness()


@pytest.mark.requirement("T-04", "T-05")
async def test_an_end_can_be_bound_to_what_was_read(store: SessionStore, redis_server: RedisServer) -> None:
    """A fenced end leaves newer tokens alone, and no reason behind; at the version that was read it ends."""
    await created(store)
    newer = replace(SESSION, version=2)
    assert Write.REPLACED == await store.replace(
        newer, record(newer, "w2"), expected_version=1, now=NOW, idle_timeout=1800
    )
    assert not await store.end(SESSION, EndReason.REFRESH_LOST, fence="version")
    with redis_server.client() as client:
        assert {KEY, "bff:user:main:alice", "bff:sid:main:sid-1", UNTIL} == set(client.keys("*"))
    assert await store.end(newer, EndReason.INVALID_GRANT, fence="version")
    assert not await store.end(newer, EndReason.LOGOUT, fence="version")
    assert EndReason.INVALID_GRANT == await store.endings.why(SESSION.key)
    with redis_server.client() as client:
        assert {f"bff:ended:{SESSION.key}"} == set(client.keys("*"))


async def test_a_marker_can_be_bound_to_the_one_that_stands_there(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Nobody takes back what another process has written since."""
    await created(store)
    ours, theirs = Refreshing(NOW, "a/1"), Refreshing(NOW, "b/2")
    assert Write.REPLACED == await store.mark_refreshing(SESSION.key, ours, expected_version=1)
    taken_back = await store.mark_refreshing(SESSION.key, None, expected_version=1, expected=theirs)
    assert Write.STALE == taken_back
    lost = replace(ours, lost=True)
    assert Write.REPLACED == await store.mark_refreshing(SESSION.key, lost, expected_version=1, expected=ours)
    assert "1800000000.000 a/1 lost" == redis_server.cli("HGET", KEY, "refreshing")


@pytest.mark.requirement("T-10")
async def test_no_request_pays_for_a_connection_that_ended(
    store: SessionStore, redis_server: RedisServer
) -> None:
    """Redis was away and is back: the first command on each kept connection finds it new."""
    await asyncio.gather(*(store.locks.take(str(number), "o", lifetime=1) for number in range(5)))
    redis_server.stop()
    for _ in range(3):
        await asyncio.sleep(0)  # the loop hears of five ends
    redis_server.start()
    taken = await asyncio.gather(*(store.locks.take(f"n{number}", "o", lifetime=1) for number in range(5)))
    assert [True] * 5 == taken
