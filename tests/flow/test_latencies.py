"""The proxy's own time and that of the backend, of Redis and of the provider, told apart."""

import asyncio

import pytest

from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until

PATIENCE = 0.1


def value(world: World, name: str, **labels: str) -> float:
    return world.app.metrics.registry.get_sample_value(name, labels) or 0.0


def seconds(world: World, part: str) -> float:
    return value(world, f"bff_{part}_duration_seconds_sum", route="/api")


@pytest.mark.usefixtures("both_fronts")
async def test_latencies_are_told_apart(redis_server: RedisServer) -> None:
    """What a backend takes is the backend's, a rotation is ours; Redis and provider have their own."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()

        async def slow(_: Received) -> Reply | None:
            await asyncio.sleep(PATIENCE)
            return Reply(body=b"x" * 300_000)

        world.reply = slow
        for _ in range(2):  # the second one on the fast path
            assert 200 == (await browser.call("/api/orders")).status_code
        assert 2 * PATIENCE <= seconds(world, "upstream") <= seconds(world, "request")
        assert seconds(world, "own") <= seconds(world, "request") - 2 * PATIENCE
        before = seconds(world, "own")

        world.issuer.seen.delay = PATIENCE
        world.clock.ahead = 400
        assert 200 == (await browser.call("/api/orders")).status_code
        assert before + PATIENCE <= seconds(world, "own")
        assert PATIENCE <= value(world, "bff_provider_duration_seconds_sum", call="refresh")
        assert 1.0 == value(world, "bff_provider_duration_seconds_count", call="token")
        for call in ("batch", "command"):
            assert 0.0 < value(world, "bff_store_duration_seconds_sum", call=call)
        assert 3.0 == value(world, "bff_upstream_duration_seconds_count", route="/api")


async def test_a_call_that_reaches_no_backend_has_no_time_of_one(world: World) -> None:
    """A refusal is the proxy's time alone, and a fault counts with the time until it."""
    browser = await world.browser()
    assert 401 == (await browser.call("/api/orders")).status_code
    assert 1.0 == value(world, "bff_own_duration_seconds_count", route="/api")
    assert 0.0 == value(world, "bff_upstream_duration_seconds_count", route="/api")

    async def broken(_: Received) -> Reply | None:
        await asyncio.sleep(PATIENCE)
        return None

    world.reply = broken
    browser = await world.signed_in()
    assert 502 == (await browser.call("/api/orders")).status_code
    assert PATIENCE <= seconds(world, "upstream")


async def test_the_sessions_that_live_are_counted(world: World) -> None:
    """Soon after its start the one process of a deployment knows them."""
    await world.signed_in()
    await world.signed_in()
    world.app.shared.live_count._every = 0.01
    await until(lambda: value(world, "bff_sessions") == 2)
