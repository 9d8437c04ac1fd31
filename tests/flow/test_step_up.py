"""Step-up through the whole proxy: a route's or a backend's demand, the sign-in that meets it, and back."""

import json
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from tests.support.network.backend import Received, Reply
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, running_world
from tests.support.tasks import background
from tests.support.wait import until

FRESH = b'Bearer error="insufficient_user_authentication", max_age="%d"'


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["code"], answer.json()["login_url"]


@pytest.mark.requirement("P-06")
@pytest.mark.usefixtures("both_fronts")
async def test_a_backend_asks_for_a_fresher_sign_in(redis_server: RedisServer) -> None:
    """401 with the address that asks for it, and no rotation; then the same session under a new id."""
    async with running_world(redis_server, provider={"par": "never"}) as world:
        browser = await world.signed_in()
        before = (await browser.call("/bff/user")).json()["session"]
        former, handle = await _cookie(browser), browser.handle
        world.clock.ahead = 100.0

        async def demand(_: Received) -> Reply:
            return Reply(status=401, headers=[(b"www-authenticate", FRESH % 60)])

        world.reply = demand
        asked = (401, "step_up_required", "/bff/login?step_up=1&max_age=60")
        assert asked == refusal(await browser.call("/api/orders", "POST"))
        assert (0, 1) == (world.refreshes, len(world.backend.requests))
        world.clock.ahead = 0.0
        answer = await browser.client.get(asked[2].replace("max_age=60", "max_age=0"))
        assert 302 == answer.status_code
        assert "max_age=0" in answer.headers["location"]
        await browser.follow(await browser.client.get("/bff/login?step_up=1&max_age=60&return_to=/there"))
        world.reply = None
        assert 200 == (await browser.call("/api/orders")).status_code
        after = (await browser.call("/bff/user")).json()["session"]
        assert before["created_at"] == after["created_at"]
        assert before["id"] != after["id"]
        assert handle != browser.handle
        stale = await world.browser()
        stale.client.cookies.update(former)
        assert 401 == (await stale.call("/api/orders")).status_code


@pytest.mark.requirement("P-06", "B-22")
async def test_a_session_that_ends_meanwhile_does_not_go_on(redis_server: RedisServer) -> None:
    """Another device ends it while its step-up's code is spent: it does not live on under a new id."""
    async with running_world(redis_server) as world:
        browser, other = await world.signed_in(), await world.signed_in()
        id_ = (await browser.call("/bff/user")).json()["session"]["id"]
        world.issuer.seen.held = True
        step_up = browser.client.get("/bff/login?step_up=1&max_age=60&return_to=/there")
        async with background(_followed(browser, step_up)) as going:
            await until(lambda: world.issuer.seen.token_calls["authorization_code"] == 3)
            assert 200 == (await other.call(f"/bff/sessions/{id_}", "DELETE")).status_code
            world.issuer.seen.held = False
            assert "bff_error=session_ended" in str((await going).url)
        assert 401 == (await browser.user()).status_code
        assert 1 == len((await other.call("/bff/sessions")).json()["sessions"])


async def _followed(browser: Browser, answer: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
    return await browser.follow(await answer)


async def _cookie(browser: Browser) -> dict[str, str]:
    return {cookie.name: cookie.value or "" for cookie in browser.client.cookies.jar if cookie.name == "bff"}


@pytest.mark.requirement("P-06")
async def test_a_backend_that_asks_for_what_there_is(redis_server: RedisServer) -> None:
    """Another sign-in would not help: its 401 is its answer, as where no sign-in may ask for it."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()

        async def demand(_: Received) -> Reply:
            return Reply(status=401, headers=[(b"www-authenticate", FRESH % 9000)])

        world.reply = demand
        answer = await browser.call("/api/orders")
        assert (401, "1", 0) == (answer.status_code, answer.headers["bff-upstream"], world.refreshes)


@pytest.mark.requirement("P-06")
async def test_a_route_demands_it_by_itself(redis_server: RedisServer) -> None:
    """Its backend gets no call until the sign-in is fresh or strong enough."""
    async with running_world(
        redis_server, route={"max_age": "1m"}, routes=[{"path": "/strong", "acr": "mfa"}]
    ) as world:
        browser = await world.signed_in()
        for _ in range(2):
            assert 200 == (await browser.call("/api/orders")).status_code
        strong = (401, "step_up_required", "/bff/login?step_up=1&acr_values=mfa")
        assert strong == refusal(await browser.call("/strong/x"))
        world.clock.ahead = 100.0
        fresh = (401, "step_up_required", "/bff/login?step_up=1&max_age=60")
        assert fresh == refusal(await browser.call("/api/orders"))
        assert 2 == len(world.backend.requests)


@pytest.mark.requirement("P-06", "B-29")
@pytest.mark.parametrize("token", ["session", "none"])
async def test_a_backend_demands_it_of_a_socket(redis_server: RedisServer, token: str) -> None:
    """A handshake is judged as a call is, with the token or without: asked again, and never rotated for."""
    async with running_sockets(redis_server, route={"token": token}) as sockets:
        browser = await sockets.world.signed_in()
        max_age = 0

        def demand(connection: ServerConnection, _: Request) -> Response:
            answer = connection.protocol.reject(401, "")
            answer.headers["WWW-Authenticate"] = (FRESH % max_age).decode()
            return answer

        sockets.backend.refusal = demand
        sockets.world.clock.ahead = 1.0
        asked = await sockets.refused(browser)
        assert "step_up_required" == json.loads(asked.body)["code"]
        max_age = 9000  # the sign-in is that already: another one would not help
        passed = await sockets.refused(browser)
        assert (401, "1") == (passed.status_code, passed.headers["bff-upstream"])
        assert (2, 0) == (len(sockets.backend.requests), sockets.world.refreshes)


async def test_the_issuer_has_no_such_acr(redis_server: RedisServer) -> None:
    """A weaker sign-in ends at the page with a code, and the former session is as it was."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()
        handle = browser.handle
        await browser.follow(await browser.client.get("/bff/login?step_up=1&acr_values=mfa&return_to=/there"))
        locations = [answer.headers.get("location", "") for answer in browser.answers]
        assert any("bff_error=step_up_failed" in location for location in locations)
        assert handle == browser.handle
        assert 200 == (await browser.call("/api/orders")).status_code
