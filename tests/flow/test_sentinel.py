"""Redis Sentinel, with real ones: sessions live through a failover, and what is deleted after it is gone."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.serve.preflight import preflight
from bff.session.store import SessionStore
from bff.settings.model import RedisSettings
from tests.support.load.calls import answers, called
from tests.support.processes.redis import RedisServer
from tests.support.processes.sentinel import MASTER, SentinelGroup, sentinel_group
from tests.support.processes.world import Browser, World, running_world
from tests.support.settings import redis_settings
from tests.support.wait import until_async

pytestmark = pytest.mark.requirement("S-13")


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    with sentinel_group() as group:
        yield group


@pytest.fixture
async def world(redis_server: RedisServer, group: SentinelGroup) -> AsyncIterator[World]:
    """The proxy on what Sentinel names; the issuer's data lie elsewhere, and stay."""
    await group.ready()
    async with running_world(redis_server, redis={"url": group.url, "timeout": 5}) as world:
        yield world


async def deleted_is_gone(browser: Browser, master: RedisServer) -> bool:
    """An operator's DEL at this master ends the session."""
    assert "1" == master.cli("DEL", browser.session_key)
    await until_async(lambda: answers(browser, 401))
    return "session_ended" == str((await browser.call("/api/orders")).json()["code"])


async def test_sessions_live_through_the_masters_death(world: World, group: SentinelGroup) -> None:
    """Under 200 calls a second every answer is 200, or 503 while there is no master; none is 401."""
    browsers = [await world.signed_in() for _ in range(4)]
    await group.replicated()
    async with called(browsers) as seen:
        await until_async(lambda: answers(browsers[0], 200))
        os.kill(group.first.pid, signal.SIGKILL)
        await group.follow(group.second)
        await until_async(lambda: answers(browsers[0], 200))
    assert {(200, ""), (503, "store_unavailable")} >= set(seen)
    for browser in browsers:
        await until_async(lambda browser=browser: answers(browser, 200))  # type: ignore[misc] # bound at once
    assert await deleted_is_gone(browsers[0], group.second)
    assert 200 == (await (await world.signed_in()).call("/api/orders")).status_code


async def test_a_master_that_steps_down_is_left(world: World, group: SentinelGroup) -> None:
    """`SENTINEL FAILOVER`: both servers live on, and the former master is a replica."""
    browser, other = await world.signed_in(), await world.signed_in()
    await group.replicated()
    next(group.sentinels()).sentinel_failover(MASTER)
    await group.follow(group.second)
    assert await deleted_is_gone(browser, group.second)
    await until_async(lambda: answers(other, 200))


async def test_a_master_that_is_none_any_more_and_does_not_know_is_left(
    world: World, group: SentinelGroup
) -> None:
    """It is cut off from the Sentinels: it says that it is a master, and ends no connection."""
    browser, other = await world.signed_in(), await world.signed_in()
    await group.replicated()
    with group.second.client() as second:
        second.replicaof("no", "one")
    for sentinel in group.sentinels():
        sentinel.sentinel_remove(MASTER)
        sentinel.sentinel_monitor(MASTER, "127.0.0.1", group.second.port, 2)
    assert await deleted_is_gone(browser, group.second)
    assert "1" == group.first.cli("EXISTS", browser.session_key)
    await until_async(lambda: answers(other, 200))


async def test_a_server_that_is_no_master_is_not_asked(group: SentinelGroup) -> None:
    """A Sentinel that knows no better names a replica: it may answer reads, and is refused for them."""
    await group.ready()
    group.first.cli("HSET", "bff:session:k", "of", "the first")
    await group.replicated()
    for sentinel in group.sentinels():
        sentinel.sentinel_remove(MASTER)
        sentinel.sentinel_monitor(MASTER, "127.0.0.1", group.second.port, 2)
    store = SessionStore(settings_for(group.url), Metrics())
    with pytest.raises(StoreUnavailableError):
        await store.load("k")
    await store.aclose()


async def test_sentinels_that_do_not_answer_delay_nothing(group: SentinelGroup) -> None:
    """One is gone and one hangs: the third is enough."""
    await group.ready()
    _, hanging, _ = group.ports
    async with silent_server() as port:
        settings = settings_for(group.url.replace(str(hanging), str(port)).replace(",", ",127.0.0.1:1,", 1))
        store = SessionStore(settings, Metrics())
        assert await store.locks.take("k", "one", lifetime=60)
        await store.aclose()


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """A port that takes connections, and says nothing."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def settings_for(url: str) -> RedisSettings:
    return redis_settings(url)


async def test_a_master_that_no_sentinel_knows(world: World, group: SentinelGroup) -> None:
    """A wrong name is an outage for calls, and `bff check` says what to correct."""
    store = SessionStore(settings_for(group.url.replace(MASTER, "another")), Metrics())
    with pytest.raises(StoreUnavailableError):
        await store.load("k")
    await store.aclose()
    settings = world.app.settings
    wrong = settings.model_copy(update={"redis": settings_for(group.url.replace(MASTER, "another"))})
    found = {check.name: check for check in await preflight(wrong)}
    assert not found["redis"].ok
    assert "correct the hosts or the name in redis.url" == found["redis"].fix
    right = {check.name: check for check in await preflight(settings)}
    assert right["redis writable"].ok
