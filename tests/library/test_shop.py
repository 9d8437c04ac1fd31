"""The proxy inside a FastAPI application, at the root of its paths: `tests/examples/library/shop.py`."""

from collections.abc import Mapping

import pytest

from tests.examples.library.shop import create_app
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, Browser, World, running_world

PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}


def reads(redis: RedisServer) -> int:
    """How often a session has been read in Redis."""
    with redis.client() as client:
        stats = client.info("commandstats")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("hmget", "evalsha"))


@pytest.mark.parametrize("lifespan", ["on", "off"])
async def test_a_fastapi_application_with_the_proxy_inside(redis_server: RedisServer, lifespan: str) -> None:
    """All of the proxy works beside the host's own routes, whether or not the host runs a lifespan.

    A warm session asks Redis nothing; a `DEL` is seen by the next request.
    """
    async with running_world(
        redis_server,
        host=lambda settings, _: create_app(settings),
        uvicorn_options={"lifespan": lifespan},
    ) as world:
        browser = await world.browser()
        assert "Sign in" in (await browser.client.get("/")).text
        refused = await browser.call("/me")
        assert (401, "session_missing", "/bff/login") == (
            refused.status_code,
            refused.json()["code"],
            refused.json()["login_url"],
        )
        assert "Hello alice" in (await browser.sign_in()).text
        bare = await browser.client.get("/me")
        assert (403, "csrf_header_missing") == (bare.status_code, bare.json()["reason"])
        assert {"sub": "alice", "name": "Alice Liddell"} == (await browser.call("/me")).json()
        assert 200 == (await browser.call("/api/orders")).status_code
        assert b"Bearer ey" in world.backend.requests[0].values(b"authorization")[0]
        assert "swagger" in (await browser.client.get("/docs")).text  # FastAPI's own are before us
        assert "no_route" == (await browser.call("/nothing")).json()["code"]
        person = await browser.client.get("/me", headers=PAGE)
        assert (403, True) == (person.status_code, person.text.startswith("<!doctype html>"))
        await warm(world, browser)
        with redis_server.client() as redis:
            redis.delete(browser.session_key)
        ended = await browser.call("/me")
        assert (401, "session_ended") == (ended.status_code, ended.json()["code"])
        assert "Sign in" in (await browser.client.get("/", headers=CSRF)).text


async def warm(world: World, browser: Browser, headers: Mapping[str, str] | None = None) -> None:
    """Asks until nothing is read any more: the feed's word for the sign-in may come late."""

    async def quiet() -> bool:
        before = reads(world.redis)
        for _ in range(5):
            for path in ("/me", "/", "/api/orders"):
                assert 200 == (await browser.call(path, headers=headers or {})).status_code
        return before == reads(world.redis)

    for _ in range(100):
        if await quiet():
            return
    pytest.fail("Redis is asked each time")
