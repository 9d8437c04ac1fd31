"""Rotation ahead of expiry: beside the calls of a session in use, and never in their way."""

import asyncio
import json

import pytest

from bff.session.rotation_policy import ahead_at
from tests.session.sample import NOW, sample_session
from tests.support.network.backend import Received
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until

pytestmark = pytest.mark.usefixtures("both_fronts")

NEARLY = 290  # seconds: the tokens of these tests live 300
EXPIRED = 400


def bearer(request: Received) -> bytes:
    """The token that the backend was shown."""
    return request.values(b"authorization")[0]


def moment_of(world: World, browser: Browser) -> float:
    """After how many seconds a session that begins now is rotated in the background."""
    session = sample_session(key=browser.session_key.rpartition(":")[2])
    return ahead_at(session, world.app.settings.refresh) - NOW


@pytest.mark.requirement("T-08", "T-01")
async def test_no_call_waits_for_a_token_that_is_good(world: World) -> None:
    """The provider hangs: every call is answered with the old token, and it is asked once for all of them."""
    browser = await world.signed_in()
    assert 200 == (await browser.call("/api/orders")).status_code
    world.clock.ahead = NEARLY
    world.issuer.seen.delay = 3600.0
    answers = await asyncio.gather(*(browser.call("/api/orders") for _ in range(50)))
    assert {200} == {answer.status_code for answer in answers}
    assert 1 == len({bearer(request) for request in world.backend.requests})
    await until(lambda: world.refreshes == 1)
    await world.app.tasks.cancel_all()


async def test_the_next_call_has_the_new_token(world: World) -> None:
    """The rotation that a call began is there for the next, though nobody waited for it."""
    browser = await world.signed_in()
    world.clock.ahead = NEARLY
    assert 200 == (await browser.call("/api/orders")).status_code
    await until(lambda: len(world.app.tasks) == 0)
    assert 200 == (await browser.call("/api/orders")).status_code
    first, second = (bearer(request) for request in world.backend.requests)
    assert first != second
    assert 1 == world.refreshes


async def test_each_session_has_its_moment(world: World) -> None:
    """Before it a call rotates nothing; at it, one does. An idle session rotates nothing at all."""
    used, idle = await world.signed_in(), await world.signed_in()
    world.clock.stop()
    assert 195 <= moment_of(world, used) <= 270
    began = float(world.redis.cli("HGET", used.session_key, "created"))  # the sign-in may have taken long
    moment = began + moment_of(world, used) - world.clock()
    world.clock.ahead = moment - 2
    assert 200 == (await used.call("/api/orders")).status_code
    await until(lambda: len(world.app.tasks) == 0)
    assert 0 == world.refreshes
    world.clock.ahead = moment + 2
    assert 200 == (await used.call("/api/orders")).status_code
    await until(lambda: len(world.app.tasks) == 0)
    assert 1 == world.refreshes
    assert "1" == world.redis.cli("HGET", idle.session_key, "version")


@pytest.mark.requirement("T-08")
async def test_an_open_circuit_fails_no_good_token(world: World) -> None:
    """The provider is down and known to be: good tokens serve as if it were not, none is asked for."""
    browser = await world.signed_in()
    world.issuer.stop()
    world.clock.stop()
    world.clock.ahead = NEARLY
    assert 200 == (await browser.call("/api/orders")).status_code
    await until(lambda: len(world.app.tasks) == 0)
    failed = (await browser.call("/bff/refresh", "POST")).status_code
    for _ in range(20):
        assert 200 == (await browser.call("/api/orders")).status_code
    assert 503 == failed
    world.issuer.start()
    world.clock.ahead += 5
    assert 200 == (await browser.call("/api/orders")).status_code
    await until(lambda: len(world.app.tasks) == 0)
    assert 1 == world.refreshes


@pytest.mark.requirement("T-09")
async def test_an_answer_that_is_lost_in_a_grace_costs_nothing(world: World) -> None:
    """The provider answers the first time with nothing: the call waits a moment, and is answered 200."""
    browser = await world.signed_in()
    world.clock.ahead = EXPIRED
    world.issuer.seen.answer = (200, b"")
    call = asyncio.ensure_future(browser.call("/api/orders"))  # noqa: TID251 - awaited below
    await until(lambda: world.refreshes == 1)
    world.issuer.seen.answer = None
    assert 200 == (await call).status_code
    assert 2 == world.refreshes
    assert "" == world.redis.cli("HGET", browser.session_key, "refreshing")


@pytest.mark.parametrize("seconds", [0, -7, "0"])
async def test_a_lifetime_of_nothing_makes_no_call_rotate(redis_server: RedisServer, seconds: object) -> None:
    """The provider says that its tokens end at once: they are used all the same, until a backend says 401."""
    async with running_world(redis_server, refresh={"min_age_for_401": 30}) as world:
        browser = await world.signed_in()
        world.clock.ahead = EXPIRED
        fresh = {"access_token": "odd", "token_type": "Bearer", "expires_in": seconds}
        world.issuer.seen.answer = (200, json.dumps(fresh).encode())
        for _ in range(5):
            assert 200 == (await browser.call("/api/orders")).status_code
        assert [b"Bearer odd"] * 5 == [bearer(request) for request in world.backend.requests]
        assert 1 == world.refreshes
