"""Sentinels that do not agree, or say what is not so: scripted ones, over real servers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session import client_tracking, sentinel_queries
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.store import SessionStore
from bff.settings.model import RedisSettings
from tests.support.network.redis_double import Answer, redis_double, resp
from tests.support.processes.redis import RedisServer
from tests.support.processes.redis import redis_server as another_server
from tests.support.settings import redis_settings
from tests.support.wait import until

pytestmark = pytest.mark.requirement("S-13")


@dataclass
class Voice:
    """What one Sentinel says.

    Attributes:
        port: of the master that it names, on 127.0.0.1; 0 where it knows none.
        epoch: of the failover that made it the master.
        waits: answers once this is set.
        odd: said in place of the address.
    """

    port: int
    epoch: int = 1
    waits: asyncio.Event | None = None
    odd: bytes | None = None
    asked: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, words: list[str]) -> Answer:
        self.asked += 1
        if self.waits is not None:
            await self.waits.wait()
        if words[1] == "MASTER":
            self.told.set()
            return resp({"name": "m", "config-epoch": str(self.epoch)})
        if self.odd is not None:
            self.told.set()
            return self.odd
        return resp(["127.0.0.1", str(self.port)] if self.port else None)


@asynccontextmanager
async def sentinels(*voices: Voice) -> AsyncIterator[RedisSettings]:
    """The settings of a master that these Sentinels name."""
    async with AsyncExitStack() as stack:
        doubles = [await stack.enter_async_context(redis_double(voice)) for voice in voices]
        hosts = ",".join(f"127.0.0.1:{double.port}" for double in doubles)
        yield redis_settings(f"redis+sentinel://{hosts}/m/0")


@asynccontextmanager
async def store_of(settings: RedisSettings) -> AsyncIterator[SessionStore]:
    store = SessionStore(settings, Metrics())
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
def other_server() -> Iterator[RedisServer]:
    """Another master, which is not to be written to."""
    with another_server() as server:
        yield server


async def written_to(settings: RedisSettings) -> None:
    async with store_of(settings) as store:
        assert await store.locks.take("k", "me", lifetime=60)


def written(server: RedisServer) -> bool:
    return "1" == server.cli("EXISTS", "bff:lock:k")


async def test_one_that_was_cut_off_is_outvoted(redis_server: RedisServer, other_server: RedisServer) -> None:
    """It answers first, and the master that it names still takes writes: these would be lost."""
    stale = Voice(other_server.port)
    late = (Voice(redis_server.port, 2, stale.told), Voice(redis_server.port, 2, stale.told))
    with capture_logs() as logs:
        async with sentinels(stale, *late) as settings:
            await written_to(settings)
    assert (True, False) == (written(redis_server), written(other_server))
    (line,) = [line for line in logs if line["event"] == "sentinels_disagree"]
    assert f"127.0.0.1:{redis_server.port}" == line["taken"]
    assert {f"127.0.0.1:{other_server.port}": 1} == line["others"]


async def test_one_that_lies_gets_no_connection(redis_server: RedisServer) -> None:
    """The epoch that it claims is of no account: a password would go to the server that it names."""
    async with redis_double(lambda _: resp(["master", 0, []])) as trap:
        liar = Voice(trap.port, epoch=2**62)
        honest = (Voice(redis_server.port, 1, liar.told), Voice(redis_server.port, 1, liar.told))
        async with sentinels(liar, *honest) as settings:
            await written_to(settings)
        assert 0 == trap.connections
    assert written(redis_server)


async def test_two_that_do_not_agree(redis_server: RedisServer, other_server: RedisServer) -> None:
    """The one that knows of the later failover is believed."""
    async with sentinels(Voice(other_server.port, 1), Voice(redis_server.port, 2)) as settings:
        await written_to(settings)
    assert (True, False) == (written(redis_server), written(other_server))


async def test_one_that_is_left_is_enough(redis_server: RedisServer) -> None:
    """The others hang, and are waited for a moment only."""
    never = asyncio.Event()
    hanging = (Voice(redis_server.port, waits=never), Voice(redis_server.port, waits=never))
    async with sentinels(Voice(redis_server.port), *hanging) as settings:
        began = asyncio.get_running_loop().time()
        await written_to(settings)
        assert settings.timeout > asyncio.get_running_loop().time() - began
    assert written(redis_server)


ODD = [
    b"+OK\r\n",
    b":7\r\n",
    b"-ERR No such master with that name\r\n",
    b"-LOADING it is loading\r\n",
    b"-MOVED\r\n",
    b"-MOVED 1\r\n",
    b"*1\r\n$1\r\nh\r\n",
    b"*2\r\n$9\r\n127.0.0.1\r\n$3\r\nabc\r\n",
    b"*2\r\n$9\r\n127.0.0.1\r\n$5\r\n99999\r\n",
    b"*2\r\n$9\r\n127.0.0.1\r\n:-1\r\n",
    b"*2\r\n$3\r\na\x00b\r\n$4\r\n6379\r\n",
    b"*2\r\n$300\r\n" + b"a" * 300 + b"\r\n$4\r\n6379\r\n",
    b"*2\r\n$2\r\n\xff\xfe\r\n$4\r\n6379\r\n",
    b"*2\r\n$70\r\n" + b"a" * 70 + b"\r\n$4\r\n6379\r\n",
    b"%1\r\n$1\r\nh\r\n:1\r\n",
    b"_\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"*2\r\n$9\r\n127.0.0.1\r\n",
]


async def test_answers_that_are_none() -> None:
    """They are an outage, 503, and nothing else; so is an address that leads nowhere."""
    voices = [Voice(1), Voice(1), Voice(1)]
    async with sentinels(*voices) as usual:
        settings = usual.model_copy(update={"timeout": 0.3})
        for odd in ODD:
            for voice in voices:
                voice.odd = odd
            async with store_of(settings) as store:
                with pytest.raises(StoreUnavailableError):
                    await store.load("k")
                with pytest.raises(StoreUnavailableError):
                    await store.locks.take("k", "me", lifetime=60)


async def test_one_odd_answer_stands_in_nobodys_way(redis_server: RedisServer) -> None:
    """The two others are a majority, and it is asked all the same."""
    odd = Voice(1)
    honest = (Voice(redis_server.port, 1, odd.told), Voice(redis_server.port, 1, odd.told))
    async with sentinels(odd, *honest) as settings:
        for number, odd.odd in enumerate(ODD):
            odd.told.clear()
            async with store_of(settings) as store:
                assert await store.locks.take(f"k{number}", "me", lifetime=60)


@asynccontextmanager
async def followed(settings: RedisSettings) -> AsyncIterator[tuple[SessionStore, InvalidationFeed]]:
    """A store and its feed, which asks Sentinel again and again."""
    async with store_of(settings) as store:
        feed = InvalidationFeed(settings, prefix=store.watched, notes=store.watched_notes)
        feed.subscribe(store.renewal)
        await feed.start()
        try:
            await until(lambda: feed.trusted)
            yield store, feed
        finally:
            await feed.aclose()


async def test_a_master_is_left_when_most_name_another(
    redis_server: RedisServer, other_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it is a master and takes writes; the third Sentinel is cut off with it, and stays so."""
    monkeypatch.setattr(client_tracking, "_WATCH_EVERY", 0.01)
    voices = [Voice(other_server.port, 1) for _ in range(3)]
    async with sentinels(*voices) as settings, followed(settings) as (store, feed):
        assert await store.locks.take("k", "me", lifetime=60)
        assert written(other_server)
        for voice in voices[1:]:
            voice.port, voice.epoch = redis_server.port, 2
        await until(lambda: redis_server.cli("CLIENT", "LIST").count("flags=") > 1)
        await until(lambda: feed.trusted)
        assert await store.locks.take("k", "me", lifetime=60)
        assert written(redis_server)


async def test_a_master_is_not_left_for_the_word_of_one(
    redis_server: RedisServer, other_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Sentinel that was cut off answers first, or alone: the feed is not lost, time and again."""
    monkeypatch.setattr(client_tracking, "_WATCH_EVERY", 0.01)
    monkeypatch.setattr(sentinel_queries, "PATIENCE", 0.01)
    stale = Voice(redis_server.port, 1)
    honest = [Voice(redis_server.port, 2) for _ in range(2)]
    async with sentinels(stale, *honest) as settings, followed(settings) as (_, feed):
        with capture_logs() as logs:
            stale.port = other_server.port
            for voice in honest:
                voice.waits = stale.told
            seen = stale.asked
            await until(lambda: stale.asked > seen + 10)
            for voice in honest:
                voice.waits = asyncio.Event()
            seen = stale.asked
            await until(lambda: stale.asked > seen + 10)
        assert feed.trusted
        assert [] == [line for line in logs if line["event"].startswith("changes_")]
