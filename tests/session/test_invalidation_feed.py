"""The feed of changes, on a real redis-server: what it tells, and when it may be trusted."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bff.embedded import EmbeddedRedis, RedisBinary
from bff.session.invalidation_feed import LEASE, InvalidationFeed, steady_now
from bff.settings.model import RedisSettings
from tests.support.network.relay import TRACKING, relay_to
from tests.support.network.tls import self_signed, server_tls
from tests.support.processes.redis import ON_EACH_SERVER, RedisServer
from tests.support.processes.redis import redis_server as another_server
from tests.support.settings import PATIENCE, redis_settings
from tests.support.wait import until

PREFIX = "bff:session:"
NOTES = "bff:ended:"


class Subscription:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[str | None] = []
        self.fail = False

    def changed(self, key: str | None) -> None:
        self.heard.append(key)
        if self.fail:
            raise RuntimeError("deaf")


class Feed:
    """A feed and its ear; the clock is real, and can be put forward."""

    def __init__(self, url: str, timeout: float = PATIENCE) -> None:
        self.ahead = 0.0
        settings = redis_settings(url, timeout=timeout)
        self.changes = InvalidationFeed(
            settings, prefix=PREFIX, notes=NOTES, clock=lambda: steady_now() + self.ahead
        )
        self.ear = Subscription()
        self.changes.subscribe(self.ear)

    async def followed(self) -> "Feed":
        await self.changes.start()
        await self.trusted()
        return self

    async def trusted(self) -> None:
        await until(lambda: self.changes.trusted)

    async def distrusted(self) -> None:
        await until(lambda: not self.changes.trusted)

    async def hears(self, key: str | None) -> None:
        await until(lambda: key in self.ear.heard)


@pytest.fixture
async def follow() -> AsyncIterator[Callable[..., Feed]]:
    """Makes feeds, and closes them."""
    made: list[Feed] = []

    def make(url: str, **options: float) -> Feed:
        made.append(Feed(url, **options))
        return made[-1]

    yield make
    for feed in made:
        await feed.changes.aclose()


Follow = Callable[..., Feed]


@ON_EACH_SERVER
@pytest.mark.requirement("B-22")
async def test_every_change_is_told(follow: Follow, redis_server: RedisServer) -> None:
    """Writes, deletions, new lifetimes, expiry and flushes; only of the keys that are watched."""
    feed = await follow(redis_server.url).followed()
    assert [None] == feed.ear.heard
    with redis_server.client() as client:
        client.hset("bff:session:written", "a", "b")
        await feed.hears("written")
        client.hset("bff:user:other", "a", "b")
        client.pexpire("bff:session:written", 60_000)
        await until(lambda: feed.ear.heard.count("written") == 2)
        client.pexpire("bff:session:written", 1)  # both in one word, where it ends before that is said
        await until(lambda: feed.ear.heard.count("written") >= 3 and not client.exists("bff:session:written"))
        client.mset({"bff:session:a": "1", "bff:session:b": "2"})
        client.delete("bff:session:a")
        await until(lambda: feed.ear.heard.count("a") == 2)
        assert {None, "written", "a", "b"} == set(feed.ear.heard)
        feed.ear.heard.clear()
        client.flushall()
        await feed.hears(None)
    assert feed.changes.trusted


async def test_over_tls_with_a_password(follow: Follow, redis_server: RedisServer, tmp_path: Path) -> None:
    """`rediss://` with a user, a password, a private CA, and another database than the one that changes."""
    certificate = self_signed(tmp_path)
    allowed = ["+client", "+role", "+select", "+hello"]
    async with relay_to(redis_server.port, tls=server_tls(certificate)) as relay:
        with redis_server.client() as client:
            client.acl_setuser("bff", enabled=True, passwords=["+s3cret"], keys=["bff:*"], commands=allowed)
            options = f"ssl_ca_certs={certificate.cert}&max_connections=5"
            feed = await follow(f"rediss://bff:s3cret@localhost:{relay.port}/1?{options}").followed()
            client.hset("bff:session:x", "a", "b")
            await feed.hears("x")


async def test_over_a_unix_socket(follow: Follow, redis_server: RedisServer, tmp_path: Path) -> None:
    """`unix://`."""
    path = tmp_path / "redis.sock"
    async with relay_to(redis_server.port, path=path):
        feed = await follow(f"unix://{path}?db=0").followed()
        with redis_server.client() as client:
            client.set("bff:session:x", "1")
        await feed.hears("x")


@pytest.mark.requirement("T-10")
async def test_a_lost_connection(follow: Follow, redis_server: RedisServer) -> None:
    """A connection that breaks takes trust along; everything may have changed, then and before it returns."""
    feed = await follow(redis_server.url).followed()
    feed.ear.heard.clear()
    redis_server.stop()
    await feed.distrusted()
    await until(lambda: feed.changes.problem is not None)
    assert [None] == feed.ear.heard[:1]
    feed.ear.heard.clear()
    redis_server.start()
    await feed.trusted()
    assert None in feed.ear.heard
    assert feed.changes.problem is None
    with redis_server.client() as client:
        client.set("bff:session:x", "1")
    await feed.hears("x")


async def test_every_new_connection_tracks(follow: Follow, redis_server: RedisServer) -> None:
    """Killed again and again, the feed is never trusted on a connection that does not track."""
    feed = await follow(redis_server.url).followed()
    with redis_server.client() as client:
        for number in range(5):
            feed.ear.heard.clear()
            client.client_kill_filter(_type="normal", skipme=True)
            await feed.hears(None)
            await feed.trusted()
            client.set(f"bff:session:{number}", "1")
            await feed.hears(str(number))


@pytest.mark.requirement("T-10", "B-22")
async def test_silent_but_open(follow: Follow, redis_server: RedisServer) -> None:
    """A connection that breaks nothing and says nothing is distrusted within the lease, and given up."""
    async with relay_to(redis_server.port) as relay:
        feed = await follow(f"redis://127.0.0.1:{relay.port}/0").followed()
        feed.ear.heard.clear()
        relay.silence(TRACKING)
        await feed.distrusted()
        await feed.hears(None)
        await feed.trusted()  # on a new connection
        with redis_server.client() as client:
            client.set("bff:session:x", "1")
        await feed.hears("x")


@pytest.mark.requirement("T-10")
async def test_a_frozen_server(follow: Follow, redis_server: RedisServer) -> None:
    """A server that is stopped by a signal is not trusted, and is again when it goes on."""
    feed = await follow(redis_server.url).followed()
    redis_server.pause()
    await feed.distrusted()
    redis_server.resume()
    await feed.trusted()


@pytest.mark.requirement("B-22")
async def test_trust_is_over_before_anything_else_happens(follow: Follow, redis_server: RedisServer) -> None:
    """After a jump in time, as after SIGSTOP, nothing is trusted until a question asked since is answered.

    No event runs in between: only the clock has moved. What changed meanwhile is told before trust is back.
    """
    feed = await follow(redis_server.url).followed()
    feed.ahead = LEASE
    assert not feed.changes.trusted
    told_before_trust = None
    with redis_server.client() as client:
        client.set("bff:session:x", "1")

    def trusted_again() -> bool:
        nonlocal told_before_trust
        told_before_trust = "x" in feed.ear.heard
        return feed.changes.trusted

    await until(trusted_again)
    assert told_before_trust
    assert [None, "x"] == feed.ear.heard  # and the connection is the same


async def test_an_answer_vouches_from_the_moment_of_its_question(
    follow: Follow, redis_server: RedisServer
) -> None:
    """An answer that took long counts from when it was asked for, not from when it came."""
    async with relay_to(redis_server.port) as relay:
        feed = await follow(f"redis://127.0.0.1:{relay.port}/0").followed()
        relay.silence(TRACKING)
        former, asked = feed.changes.trusted_until, len(relay.asked)
        await until(lambda: len(relay.asked) > asked)
        latest_question = steady_now()
        relay.resume()
        await until(lambda: feed.changes.trusted_until > former)
        assert feed.changes.trusted_until <= latest_question + LEASE


@pytest.mark.requirement("B-22")
async def test_failover(follow: Follow, redis_server: RedisServer) -> None:
    """A server that has become a replica is not trusted; once it is a master again, it is."""
    feed = await follow(redis_server.url).followed()
    with another_server() as other, redis_server.client() as client:
        client.replicaof("127.0.0.1", other.port)
        await feed.distrusted()
        await until(lambda: "replica" in str(feed.changes.problem) or "slave" in str(feed.changes.problem))
        client.replicaof("NO", "ONE")
        await feed.trusted()


@pytest.mark.parametrize("refused", ["client", "role info"])  # Redis 6.2 knows no part of a command here
async def test_an_account_that_may_not(follow: Follow, redis_server: RedisServer, refused: str) -> None:
    """Without the right to track, or to ask for the role, the feed says so, and is not trusted."""
    with redis_server.client() as client:
        client.acl_setuser(
            "default",
            enabled=True,
            nopass=True,
            commands=["+@all", *(f"-{each}" for each in refused.split())],
        )
        feed = follow(redis_server.url)
        await feed.changes.start()
        await until(lambda: "no permissions" in str(feed.changes.problem).lower())
        assert not feed.changes.trusted


@pytest.fixture
def imitation() -> Iterator[EmbeddedRedis]:
    command = (sys.executable, "-m", "bff.embedded")
    with EmbeddedRedis(binary=RedisBinary(command, "imitation", None, real=False)) as imitation:
        yield imitation


async def test_a_server_without_tracking(follow: Follow, imitation: EmbeddedRedis) -> None:
    """The imitation knows no tracking: that is said once, and the feed is never trusted."""
    feed = follow(imitation.url)
    with capture_logs() as lines:
        await feed.changes.start()
        await until(lambda: "does not track" in str(feed.changes.problem))
        assert not feed.changes.trusted
        await feed.changes._follow_once()
    assert ["changes_untracked"] == [line["event"] for line in lines]


async def test_a_deaf_listener(follow: Follow, redis_server: RedisServer) -> None:
    """A listener that fails may hold on to what is gone: trust ends, for all, and the others are told."""
    feed = await follow(redis_server.url).followed()
    second = Subscription()
    feed.changes.subscribe(second)
    feed.ear.fail = True
    with redis_server.client() as client:
        client.set("bff:session:x", "1")
        await feed.distrusted()
        assert "x" in second.heard
        feed.ear.fail = False
        await feed.trusted()
        feed.changes.unsubscribe(second)
        second.heard.clear()
        client.set("bff:session:y", "1")
        await feed.hears("y")
    assert [] == second.heard


def test_a_follower_hears_of_its_session_alone() -> None:
    """However many follow, a push costs what those of its session do; each hears once of all."""
    feed = InvalidationFeed(RedisSettings(), prefix=PREFIX, notes=NOTES)
    one, other = Subscription(), Subscription()
    for key, listener in (("x", one), ("y", one), ("x", other)):
        feed.follow(key, listener)
    feed._tell(["bff:session:x", "bff:session:z"])
    assert ["x"] == one.heard == other.heard
    feed.leave("x", other)
    feed._tell(None)
    feed._tell(["bff:session:x"])
    assert (["x", None, "x"], ["x"]) == (one.heard, other.heard)
    feed.leave("x", one)
    feed.leave("y", one)
    assert {} == feed._by_key


async def test_closing(follow: Follow, redis_server: RedisServer) -> None:
    """A feed that was closed is not trusted, and leaves no connection and no task."""
    feed = await follow(redis_server.url).followed()
    await feed.changes.aclose()
    assert (False, "stopped") == (feed.changes.trusted, feed.changes.problem)
    assert 0 == len(feed.changes._tasks)
    with redis_server.client() as client:
        await until(lambda: len(client.client_list()) == 1)


async def test_an_outage_is_told_once_for_each_of_its_problems(follow: Follow) -> None:
    """A server that goes away breaks connections in one way and another, in turn."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(1024)
        if connections % 2:
            writer.write(b"-LOADING it has just begun\r\n")
        writer.close()

    with capture_logs() as logs:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            feed = follow(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
            await feed.changes.start()
            await until(lambda: connections > 4)
    told = [line["detail"] for line in logs if line["event"] == "changes_lost"]
    assert len(told) == len(set(told)) == 2


@pytest.mark.requirement("B-22")
async def test_the_note_of_an_end_is_told_as_a_change(follow: Follow, redis_server: RedisServer) -> None:
    """To those who want to know; a note about all sessions of a user names none of them."""
    feed = await follow(redis_server.url).followed()
    endings, one = Subscription(), Subscription()
    feed.changes.subscribe(endings, to_notes=False)
    feed.changes.follow("x", one)
    with redis_server.client() as client:
        client.set("bff:ended:main:alice", "1 logout")
        client.set("bff:ended:x", "logout")
        await feed.hears("x")
        client.set("bff:session:last", "1")
        await feed.hears("last")
    assert [None, "x", "last"] == feed.ear.heard
    assert ["x"] == one.heard
    assert ["last"] == endings.heard
