"""An application's own API beside forwarded routes, under a path: `tests/examples/library/orders.py`."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: TID251 - as many hosts have it
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp

from bff.settings.model import Settings
from tests.examples.library.orders import create_app
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, JSON, Browser, World, running_world
from tests.support.tasks import background
from tests.support.wait import until

SHOP = "/shop"


def host(settings: Settings, desk: str) -> ASGIApp:
    """The example, behind middleware as hosts have it, and with an endpoint that fails."""
    app = create_app(settings, desk)

    async def plain(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await go_on(request)
        answer.headers["x-host"] = "seen"
        return answer

    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(SessionMiddleware, secret_key="of the host")
    app.add_middleware(CORSMiddleware, allow_origins=["https://friend.example"])
    app.add_middleware(BaseHTTPMiddleware, dispatch=plain)
    return app


async def test_its_own_api_beside_forwarded_routes(redis_server: RedisServer) -> None:
    """Hooks, tokens for its own calls, events, and the host's middleware around all of it."""
    async with running_world(redis_server, host=host, server={"base_path": SHOP}) as world:
        seen: list[Received] = []

        async def backend(request: Received) -> Reply:
            seen.append(request)
            return Reply(body=b'{"orders":[]}', headers=[JSON])

        world.reply = backend
        browser = await world.browser()
        await browser.sign_in(base_path=SHOP)
        assert ["a"] == (await browser.call(f"{SHOP}/own/cart/a", "POST")).json()
        bare = await browser.client.post(f"{SHOP}/own/cart/b")
        assert (403, "csrf_rejected") == (bare.status_code, bare.json()["code"])
        forwarded = await browser.call(f"{SHOP}/api/list", headers={"X-Cart-Size": "99"})
        assert (200, "seen", "gzip") == (
            forwarded.status_code,
            forwarded.headers["x-host"],
            forwarded.headers["content-encoding"],
        )
        assert (b"/list", [b"1"]) == (seen[-1].target, seen[-1].values(b"x-cart-size"))
        refused = await browser.call(f"{SHOP}/api/internal")
        assert (403, "not_allowed", "internal") == (
            refused.status_code,
            refused.json()["code"],
            refused.json()["reason"],
        )
        assert {"status": 200} == (await browser.call(f"{SHOP}/own/desk")).json()
        assert b"/desk" == seen[-1].target
        assert seen[-2].values(b"authorization") == seen[-1].values(b"authorization")
        await _events_pass(world, browser)
        await _it_hears_of_the_end(browser)


async def _events_pass(world: World, browser: Browser) -> None:
    """A page under the path reads its events as they come, and the end by `DEL`."""
    said = bytearray()
    browser.client.event_hooks["response"].clear()

    async def read() -> None:
        url = f"{SHOP}/bff/events"
        async with browser.client.stream("GET", url, headers={**CSRF, "Accept-Encoding": "gzip"}) as answer:
            assert "text/event-stream" in answer.headers["content-type"]
            async for chunk in answer.aiter_bytes():
                said.extend(chunk)

    async with background(read()) as reading:
        await until(lambda: len(said) > 0)
        with world.redis.client() as redis:
            assert 1 == redis.delete(browser.session_key)
        await reading
    assert b"event: session-ended" in said


async def _it_hears_of_the_end(browser: Browser) -> None:
    """The hook drops the cart of a session that is gone by `DEL`: a new one begins without it."""
    for attempt in range(200):
        await browser.sign_in(base_path=SHOP)
        if ["c"] == (await browser.call(f"{SHOP}/own/cart/c", "POST")).json():
            return
        assert attempt < 199, "nobody told the hook"
