"""Two proxies before one Redis, as two processes are."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bff.app import App
from bff.embedded import free_port
from bff.session.rotation_lock import LEASE
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world, serving

EXPIRED = 400


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[tuple[World, Browser, Browser]]:
    """A world, and two clients of one session: one asks the first proxy, one the second."""
    async with running_world(redis_server) as world:
        second_port = free_port()
        second = App(world.app.settings, clock=world.clock)
        async with serving(second, second_port):
            here = await world.signed_in()
            there = Browser(f"http://localhost:{second_port}")
            there.client.headers["Host"] = world.url.partition("//")[2]
            there.client.cookies.set("bff", here.handle or "", domain="localhost.local")
            async with there.client:
                yield world, here, there


@pytest.mark.requirement("T-01", "T-05")
async def test_two_processes_rotate_once(pair: tuple[World, Browser, Browser]) -> None:
    """Forty calls with an expired token over both: one call of the token endpoint, forty good answers."""
    world, here, there = pair
    assert 200 == (await there.call("/api/orders")).status_code
    world.clock.ahead = EXPIRED
    world.issuer.seen.delay = 0.5
    calls = [browser.call("/api/orders") for _ in range(20) for browser in (here, there)]
    answers = await asyncio.gather(*calls)
    assert {200} == {answer.status_code for answer in answers}
    assert 1 == world.refreshes
    assert [] == world.redis.cli("--scan", "--pattern", "bff:lock:*").split()


@pytest.mark.requirement("T-12")
async def test_a_rotation_that_outlasts_the_locks_first_lease(
    pair: tuple[World, Browser, Browser],
) -> None:
    """The provider takes longer than the lock's first TTL: it is prolonged, and the token is spent once."""
    world, here, there = pair
    world.clock.ahead = EXPIRED
    world.issuer.seen.delay = LEASE + 1.5
    answers = await asyncio.gather(here.call("/api/orders"), there.call("/api/orders"))
    assert [200, 200] == [answer.status_code for answer in answers]
    assert 1 == world.refreshes


async def test_a_lock_that_was_left_behind_is_waited_out(pair: tuple[World, Browser, Browser]) -> None:
    """A process died with the lock: it runs out, and the next one rotates."""
    world, here, _ = pair
    lock = here.session_key.replace(":session:", ":lock:")
    world.redis.cli("SET", lock, "somebody-dead", "PX", "700")
    world.clock.ahead = EXPIRED
    assert 200 == (await here.call("/api/orders")).status_code
    assert 1 == world.refreshes


async def test_a_lock_is_given_up_by_its_owner_only(pair: tuple[World, Browser, Browser]) -> None:
    """Whoever has lost it to somebody else neither prolongs nor frees it."""
    world, here, _ = pair
    store = world.app.shared.store
    assert await store.locks.take("k", "first", lifetime=60)
    assert not await store.locks.take("k", "second", lifetime=60)
    assert not await store.locks.prolong("k", "second", lifetime=60)
    await store.locks.release("k", "second")
    assert "first" == world.redis.cli("GET", "bff:lock:k")
    assert await store.locks.prolong("k", "first", lifetime=90)
    await store.locks.release("k", "first")
    assert await store.locks.take("k", "second", lifetime=60)
    assert 200 == (await here.call("/api/orders")).status_code
