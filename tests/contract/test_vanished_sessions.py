"""Endings by DEL, by expiry and by eviction, on a real redis-server: each is told once, by one of several."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from unittest.mock import AsyncMock

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from bff.crypto import Keyring, new_secret
from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.model import EndReason
from bff.session.session_builder import Identity
from bff.session.session_cookie import SessionCookie
from bff.session.sessions import Found, NoSession, Sessions
from bff.session.store import SessionStore
from bff.session.vanished_sessions import GRACE, LEASE, VanishedSessions
from bff.settings.model import ServerSettings, SessionSettings
from tests.contract.cached import Mark
from tests.session.sample import NOW, sample_tokens
from tests.support.processes.redis import ON_BOTH_SERVERS, RedisServer
from tests.support.settings import redis_settings
from tests.support.wait import until

KEYS = [new_secret()]
AUDITOR = "bff:auditor"
Lines = list[Any]


class Process:
    """What a process has of this; a test looks in its place, when it wants to."""

    def __init__(self, redis: RedisServer) -> None:
        settings = redis_settings(redis.url)
        self.redis = redis
        self.ahead = 0.0
        self.heard: list[tuple[str, str]] = []  # by an application's hook: which, and why
        self.metrics = Metrics()
        self.store = SessionStore(settings, self.metrics)
        self.feed = InvalidationFeed(settings, prefix=self.store.watched, notes=self.store.watched_notes)
        self.silent = VanishedSessions(
            endings=self.store.endings,
            metrics=self.metrics,
            clock=lambda: 1000 + self.ahead,
            ended=self.hears,
        )
        self.feed.subscribe(self.silent, to_notes=False)
        self.sessions = self.with_settings()

    def with_settings(self, **settings: Any) -> Sessions:
        session = SessionSettings.model_validate(settings)
        return Sessions(
            store=self.store,
            keyring=Keyring(KEYS),
            cookie=SessionCookie.configured(ServerSettings(public_url="http://localhost"), session),
            settings=session,
            metrics=self.metrics,
            clock=lambda: NOW,
            missed=self.silent.missed,
            ended=self.hears,
        )

    def hears(self, session: str, _: str | None, reason: str) -> None:
        self.heard.append((session, reason))

    async def signed_in(self, sub: str = "alice", **settings: Any) -> Found:
        identity = Identity(provider="main", sub=sub, sid="sid-1", name="", claims={"sub": sub})
        sessions = self.with_settings(**settings)
        return await sessions.start(identity, sample_tokens(), user_agent="", address="")

    async def told(self) -> None:
        """Waits until the feed has told all that has changed so far."""
        mark = Mark()
        self.feed.subscribe(mark)
        with self.redis.client() as client:
            client.set("bff:session:mark", "x", px=10_000)
        await until(lambda: mark.heard)
        self.feed.unsubscribe(mark)

    async def look(self) -> None:
        await self.told()
        await self.silent.look()


@asynccontextmanager
async def running(redis: RedisServer, count: int) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        processes = [Process(redis) for _ in range(count)]
        for process in processes:
            stack.push_async_callback(process.store.aclose)
            stack.push_async_callback(process.feed.aclose)
            await process.feed.start()
            await until(lambda process=process: process.feed.trusted)  # type: ignore[misc] # binds this turn's
        yield processes


@pytest.fixture(name="three")
async def _three(redis_server: RedisServer) -> AsyncIterator[list[Process]]:
    """Three processes; the first is the auditor."""
    async with running(redis_server, 3) as processes:
        await processes[0].silent.look()
        yield processes


def name(found: Found) -> str:
    return f"bff:session:{found.session.key}"


def heard(processes: list[Process]) -> list[tuple[str, str]]:
    """Which and why, of each ending that an application's hook in one of them would hear of."""
    return [end for process in processes for end in process.heard]


def endings(lines: Lines) -> list[tuple[str | None, str, str]]:
    """Who, which and why, of each ending that was told."""
    return [
        (line["sub"], line["session"], line["reason"]) for line in lines if line["event"] == "session_ended"
    ]


async def gone(redis: RedisServer, *found: Found) -> None:
    """Waits until Redis has them no more, whatever takes them away."""
    with redis.client() as client:
        await until(lambda: not client.exists(*(name(one) for one in found)))


@ON_BOTH_SERVERS
async def test_sessions_that_live_cost_a_question_for_a_hundred(
    three: list[Process], redis_server: RedisServer
) -> None:
    """A note of use of each is no command of each; those among them that are gone are found by name."""
    found = [await three[1].signed_in(f"u{number}") for number in range(150)]
    with redis_server.client() as client:
        for deleted in ([], found[7:9]):
            pipe = client.pipeline(transaction=False)
            for one in found:
                pipe.pexpire(name(one), 60_000)
            pipe.execute()
            client.delete(*(name(one) for one in deleted), "none")
            client.config_resetstat()
            with capture_logs() as lines:
                await three[0].look()
            asked = client.info("commandstats")["cmdstat_exists"]["calls"]
            assert asked <= (3 if not deleted else 103)
            assert {one.session.id for one in deleted} == {line[1] for line in endings(lines)}


async def test_a_server_that_takes_one_name_a_command(
    three: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As proxies in front of several servers do: each session is asked for by itself."""
    found = await three[1].signed_in()
    store = three[0].store
    refusing = AsyncMock(side_effect=ResponseError("CROSSSLOT Keys in request don't hash to the same slot"))
    monkeypatch.setattr(store.endings._redis, "exists", refusing)
    await store.end_many({"0" * 64: ("main", "bob", None)}, EndReason.LOGOUT)
    assert ["0" * 64] == list(await store.endings.gone([found.session.key, "0" * 64]))
    assert 1 == refusing.call_count


@ON_BOTH_SERVERS
@pytest.mark.requirement("S-07", "B-22", "B-27")
async def test_a_deletion_is_told_once(three: list[Process], redis_server: RedisServer) -> None:
    """`redis-cli DEL`: one line of all processes, with whose session it was; and one count."""
    found = [await three[2].signed_in(sub) for sub in ("alice", "b o/b!")]
    redis_server.cli("DEL", *(name(one) for one in found))
    with capture_logs() as lines:
        for process in three * 2:
            await process.look()
    assert {
        ("alice", found[0].session.id, "deleted"),
        ("b o/b!", found[1].session.id, "deleted"),
    } == set(endings(lines))
    assert 2 == len(endings(lines))
    assert sorted((each.session.id, "deleted") for each in found) == sorted(heard(three))
    counted = [
        b'bff_sessions_ended_total{reason="deleted"} 2.0' in each.metrics.render()[0] for each in three
    ]
    assert [True, False, False] == counted


@ON_BOTH_SERVERS
@pytest.mark.requirement("S-07")
@pytest.mark.parametrize("marked", [True, False])
async def test_of_all_who_saw_it_one_tells(
    three: list[Process], redis_server: RedisServer, marked: bool
) -> None:
    """Each had seen it untold before the first claimed it: one gets it, with a mark and without."""
    found = await three[1].signed_in()
    key = found.session.key
    redis_server.cli("DEL", name(found), *([] if marked else [f"bff:until:{key[:16]}"]))
    seen = [await process.store.endings.gone([key]) for process in three]
    assert [marked] * 3 == [traces[key].marked for traces in seen]
    claims = [process.store.endings.claim(traces) for process, traces in zip(three, seen, strict=True)]
    assert 1 == sum(key in claimed for claimed in await asyncio.gather(*claims))


@ON_BOTH_SERVERS
@pytest.mark.requirement("S-07", "B-21")
@pytest.mark.parametrize(
    ("settings", "reason"), [({"idle_timeout": 0.05}, "idle"), ({"max_lifetime": 0.05}, "max_lifetime")]
)
async def test_an_expiry_is_told_once(
    three: list[Process], redis_server: RedisServer, settings: dict[str, Any], reason: str
) -> None:
    """By Redis' own clock; nobody has to come for it."""
    found = await three[1].signed_in(**settings)
    await gone(redis_server, found)
    with capture_logs() as lines:
        for process in three * 2:
            await process.look()
    assert [("alice", found.session.id, reason)] == endings(lines)


@pytest.mark.requirement("S-07")
async def test_an_eviction_is_told_once(three: list[Process], redis_server: RedisServer) -> None:
    """Redis was short of memory, and was allowed to evict."""
    found = await three[1].signed_in()
    await three[0].look()
    redis_server.cli("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    redis_server.cli("PEXPIRE", name(found), "60000")  # the next to go
    redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    with redis_server.client() as client, suppress(Exception):
        client.set("x", "y", ex=9999)  # refused once all is evicted that may be
    await gone(redis_server, found)
    redis_server.cli("CONFIG", "SET", "maxmemory", "0")
    with capture_logs() as lines:
        for process in three * 2:
            await process.look()
    assert [(found.session.id, "evicted")] == [line[1:] for line in endings(lines)]


@pytest.mark.requirement("S-07")
async def test_what_lives_is_not_told_of(three: list[Process], redis_server: RedisServer) -> None:
    """A save, a note of use, and what is no session of ours under such a name."""
    found = await three[1].signed_in()
    await three[1].sessions.save(
        three[1].sessions.prepare(found, sample_tokens(access_token="access-2"), claims=None)
    )
    redis_server.cli("HSET", name(found), "ua", "other")
    redis_server.cli("SET", "bff:session:strange", "x")
    redis_server.cli("DEL", "bff:session:strange")
    with capture_logs() as lines:
        for process in three:
            await process.look()
    assert [] == endings(lines)


@pytest.mark.requirement("S-07", "B-27")
async def test_an_end_of_ours_is_told_by_us_alone(three: list[Process], redis_server: RedisServer) -> None:
    """By the process that ended it, with its reason, and never again, not to who comes an hour later."""
    found = await three[1].signed_in()
    with capture_logs() as lines:
        assert await three[1].sessions.end(found.session, EndReason.LOGOUT)
        for process in three * 2:
            process.ahead += GRACE
            await process.look()
        redis_server.cli("DEL", f"bff:ended:{found.session.key}")  # its hour is over
        for process in three:
            assert isinstance(await process.sessions.open(found.handle), NoSession)
            await process.look()
    assert [("alice", found.session.id, "logout")] == endings(lines)
    assert [(found.session.id, "logout")] == heard(three)


async def test_an_end_by_a_command_is_counted_once(three: list[Process]) -> None:
    """The command has told of it, and has no metrics and no hooks: the auditor counts, and tells those."""
    found = await three[1].signed_in()
    with capture_logs() as lines:
        whose = {found.session.key: ("main", "alice", "sid-1")}
        assert await three[0].store.end_many(whose, EndReason.OPERATOR, kept=1800)
        for process in three * 2:
            process.ahead += GRACE
            await process.look()
    assert [] == endings(lines)
    pages = [process.metrics.render()[0].decode() for process in three]
    assert 1 == sum('bff_sessions_ended_total{reason="operator"} 1.0' in page for page in pages)
    assert [(found.session.id, "operator")] == heard(three)


@pytest.mark.requirement("S-07")
async def test_a_process_that_dies_over_an_end_is_spoken_for(
    three: list[Process], redis_server: RedisServer
) -> None:
    """It had noted and deleted, and did not get to the line: the auditor tells it a while later, once."""
    found = await three[1].signed_in()
    await three[1].store.endings.note(found.session.key, EndReason.LOGOUT, version=None, kept=3600)
    redis_server.cli("DEL", name(found))
    with capture_logs() as lines:
        await three[0].look()
        assert [] == endings(lines)
        for process in three * 2:
            process.ahead += GRACE
            await process.look()
    assert [("alice", found.session.id, "logout")] == endings(lines)


@pytest.mark.requirement("S-07")
async def test_the_next_auditor_tells_what_the_last_one_left(
    three: list[Process], redis_server: RedisServer
) -> None:
    """The auditor is gone without a word: another one takes its place, and has kept the names."""
    found = await three[1].signed_in()
    redis_server.cli("DEL", name(found))
    with capture_logs() as lines:
        for process in three[1:]:
            process.ahead = LEASE - 1
            await process.look()
        assert [] == endings(lines)
        assert 0 < int(redis_server.cli("PTTL", AUDITOR)) <= LEASE * 1000
        redis_server.cli("DEL", AUDITOR)  # its lease is over
        for process in (*three[1:], *three):
            process.ahead += LEASE
            await process.look()
    assert [("alice", found.session.id, "deleted")] == endings(lines)


async def test_an_auditor_that_stops_makes_room(three: list[Process], redis_server: RedisServer) -> None:
    """At a stop the next one need not wait for the lease; nobody takes it from another."""
    await three[1].silent.aclose()
    assert "1" == redis_server.cli("EXISTS", AUDITOR)
    await three[0].silent.aclose()
    assert "0" == redis_server.cli("EXISTS", AUDITOR)


@pytest.mark.requirement("S-07")
async def test_without_a_feed_it_is_told_when_somebody_comes(redis_server: RedisServer) -> None:
    """By the process that they come to, auditor or not; and once, however often they come."""
    async with running(redis_server, 3) as processes:
        await processes[0].silent.look()
        found = await processes[1].signed_in()
        for process in processes:
            await process.feed.aclose()
        redis_server.cli("DEL", name(found))
        with capture_logs() as lines:
            for process in processes[::-1] * 2:
                assert isinstance(await process.sessions.open(found.handle), NoSession)
                await process.silent.look()
    assert [("alice", found.session.id, "deleted")] == endings(lines)


async def test_a_session_of_long_ago_is_not_told_again(
    three: list[Process], redis_server: RedisServer
) -> None:
    """Nor does it again and again: of that session nothing is known any more."""
    found = await three[1].signed_in()
    redis_server.cli("DEL", name(found), f"bff:until:{found.session.key[:16]}")
    with capture_logs() as lines:
        for process in three * 2:
            await process.look()
        assert [(None, found.session.id, "deleted")] == endings(lines)  # by the feed, without a name
        redis_server.cli("DEL", f"bff:jti:ended:{found.session.key}")
        for process in three:
            assert isinstance(await process.sessions.open(found.handle), NoSession)
            await process.look()
    assert 1 == len(endings(lines))


@pytest.mark.requirement("S-07", "T-10")
async def test_an_outage_loses_no_ending(three: list[Process], redis_server: RedisServer) -> None:
    """What was heard of before Redis went away is told when it is back."""
    found = await three[1].signed_in()
    redis_server.cli("DEL", name(found))
    await three[0].told()
    redis_server.stop()
    with capture_logs() as lines:
        with pytest.raises(StoreUnavailableError):
            await three[0].silent.look()
        redis_server.start()
        await until(lambda: three[0].feed.trusted)
        for process in three:
            process.ahead += LEASE
            await process.silent.look()
    assert [("alice", found.session.id, "deleted")] == endings(lines)


async def test_a_flood_is_bounded(three: list[Process], monkeypatch: pytest.MonkeyPatch) -> None:
    """Names beyond the bound are not kept, which the log says once; each process forgets old ones."""
    monkeypatch.setattr("bff.session.vanished_sessions._MOST", 10)
    silent = three[1].silent
    with capture_logs() as lines:
        for number in range(30):
            silent.changed(f"{number:064x}")
    assert 10 == len(silent._changed)
    assert ["endings_unwatched"] == [line["event"] for line in lines]
    three[1].ahead = 3 * LEASE
    await silent.look()
    assert not silent._changed
