"""No backend gets a token that has ended, whatever a call has waited for in between."""

import asyncio
import json
from typing import Any

import pytest

from bff.session.rotation_policy import ahead_at
from tests.issuer.flow import payload_of
from tests.session.sample import NOW, sample_session, sample_tokens
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import JSON, Browser, World, running_world
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = pytest.mark.usefixtures("both_fronts")

LIFE = 300


def bearers(world: World) -> list[bytes]:
    return [request.values(b"authorization")[0] for request in world.backend.requests]


def told(**members: Any) -> tuple[int, bytes]:
    """An answer of the token endpoint."""
    document = {"access_token": "told", "token_type": "Bearer", "refresh_token": "told-too", **members}
    return 200, json.dumps(document).encode()


async def in_its_last_second(world: World, *, stopped: bool = True) -> Browser:
    """Somebody signed in, half a second before the end of the token; the clock stands still, or goes on."""
    browser = await world.signed_in()
    assert 200 == (await browser.call("/api/orders")).status_code
    token = bearers(world)[0].removeprefix(b"Bearer ").decode()
    if stopped:
        world.clock.stop()
    world.clock.ahead += payload_of(token)["exp"] - 0.5 - world.clock()
    world.backend.requests.clear()
    return browser


async def settled(world: World) -> None:
    await until(lambda: len(world.app.tasks) == 0)


@pytest.mark.requirement("T-19")
@pytest.mark.parametrize("mode", ["any", "never"])
async def test_a_token_that_ends_while_a_rotation_is_waited_for(redis_server: RedisServer, mode: str) -> None:
    """The provider hangs and the token ends: one wait, one 503, and nothing goes to the backend."""
    async with running_world(
        redis_server, route={"refresh_on_401": mode}, refresh={"timeout": "1s"}
    ) as world:
        browser = await in_its_last_second(world, stopped=False)
        world.issuer.seen.delay = 3600.0
        answer = await browser.call("/api/orders")
        assert (503, "provider_unavailable") == (answer.status_code, answer.json()["code"])
        assert [] == world.backend.requests
        await world.app.tasks.cancel_all()


@pytest.mark.requirement("T-08", "T-19")
async def test_a_token_that_is_good_still_after_the_wait_is_sent(redis_server: RedisServer) -> None:
    """The provider hangs, the token does not end meanwhile: the call goes out with it."""
    async with running_world(redis_server, refresh={"timeout": "1s"}) as world:
        browser = await in_its_last_second(world)
        world.issuer.seen.delay = 3600.0
        assert 200 == (await browser.call("/api/orders")).status_code
        assert 1 == len(bearers(world))
        await world.app.tasks.cancel_all()


def hold(world: World) -> asyncio.Event:
    """The backend answers once this is set."""
    released = asyncio.Event()

    async def held(_: Received) -> Reply:
        await released.wait()
        return Reply(body=b"[]", headers=[JSON])

    world.reply = held
    return released


@pytest.mark.requirement("T-19")
async def test_a_token_that_ends_while_a_connection_is_waited_for(redis_server: RedisServer) -> None:
    """The backend's one connection is busy until the waiting call's token has ended: it gets a new one."""
    async with running_world(redis_server, route={"max_connections": 1, "queue_timeout": "60s"}) as world:
        alice, bob = await world.signed_in(), await world.signed_in()
        released = hold(world)
        pool = world.app.frontend.forwarding.context.destinations[b"/api"].pool
        async with background(alice.call("/api/orders")) as first:
            await until(lambda: len(world.backend.requests) == 1)
            async with background(bob.call("/api/orders")) as second:
                await until(lambda: pool.stats().waiting == 1)
                assert 0 == world.refreshes
                world.clock.ahead = LIFE + 1
                released.set()
                assert [200, 200] == [(await first).status_code, (await second).status_code]
        assert 1 == world.refreshes
        assert "2" == world.redis.cli("HGET", bob.session_key, "version")


@pytest.mark.requirement("T-19")
async def test_a_session_that_ends_while_a_connection_is_waited_for(redis_server: RedisServer) -> None:
    """Its time is up before the backend is free: the call is refused, and none of it reaches the backend."""
    async with running_world(
        redis_server,
        route={"max_connections": 1, "queue_timeout": "60s"},
        session={"max_lifetime": "200s"},
    ) as world:
        alice, bob = await world.signed_in(), await world.signed_in()
        released = hold(world)
        pool = world.app.frontend.forwarding.context.destinations[b"/api"].pool
        async with background(alice.call("/api/orders")) as first:
            await until(lambda: len(world.backend.requests) == 1)
            async with background(bob.call("/api/orders")) as second:
                await until(lambda: pool.stats().waiting == 1)
                world.clock.ahead = 201
                released.set()
                assert 200 == (await first).status_code
                assert (401, "session_expired") == (
                    (await second).status_code,
                    second.result().json()["code"],
                )
        assert 1 == len(world.backend.requests)


@pytest.mark.requirement("T-18")
@pytest.mark.parametrize("members", [{"expires_in": 3600}, {}], ids=["an hour", "no expires_in"])
async def test_a_refresh_token_that_ends_first(redis_server: RedisServer, members: dict[str, int]) -> None:
    """A session in use is rotated before its refresh token ends, again and again, and never dies of it."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()
        world.clock.stop()
        world.clock.ahead = 5  # late enough to compare its end with that of the sign-in
        world.issuer.seen.answer = told(refresh_expires_in=80, **members)
        session = sample_session(
            key=browser.session_key.rpartition(":")[2],
            tokens=sample_tokens(access_expires_at=None, refresh_expires_at=NOW + 80),
        )
        moment = ahead_at(session, world.app.settings.refresh) - NOW
        assert 20 <= moment <= 60
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        for rotation in range(1, 4):
            assert rotation == world.refreshes
            world.clock.ahead += moment + 1
            assert 200 == (await browser.call("/api/orders")).status_code
            await settled(world)
        assert 60 < int(world.redis.cli("TTL", browser.session_key)) <= 80


@pytest.mark.requirement("T-18", "B-16")
async def test_a_configured_life_of_refresh_tokens(redis_server: RedisServer) -> None:
    """`provider.refresh_token_lifetime` counts as if the provider had said it."""
    async with running_world(redis_server, provider={"refresh_token_lifetime": "100s"}) as world:
        browser = await world.signed_in()
        assert 80 <= int(world.redis.cli("TTL", browser.session_key)) <= 100
        for rotation in range(1, 4):
            world.clock.ahead += 76
            assert 200 == (await browser.call("/api/orders")).status_code
            await settled(world)
            assert rotation == world.refreshes


@pytest.mark.requirement("T-18")
async def test_an_end_that_no_rotation_moves(redis_server: RedisServer) -> None:
    """All of a sign-in ends at a fixed time: that is found out once, and not tried at each call."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()
        world.clock.stop()
        for life in (100, 25):
            world.issuer.seen.answer = told(refresh_expires_in=life, expires_in=3600)
            assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
            world.clock.ahead += 75
        world.clock.ahead -= 75
        for _ in range(10):
            world.clock.ahead += 2
            assert 200 == (await browser.call("/api/orders")).status_code
            await settled(world)
        assert 2 == world.refreshes
