"""Several frontends in one process, by host and by path: nothing of one is another's."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bff.embedded import free_port
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, Browser, World, running_world

pytestmark = [pytest.mark.requirement("P-01"), pytest.mark.usefixtures("both_fronts")]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture(name="world")
async def _world(redis_server: RedisServer) -> AsyncIterator[World]:
    port = free_port()
    basket: dict[str, Any] = {"path": "/basket", "upstream": "http://127.0.0.1:1", "auth": "none"}
    frontends: list[dict[str, Any]] = [
        {
            "name": "shop",
            "public_url": f"http://127.0.0.1:{port}",
            "session": {"max_lifetime": "31m"},
            "limits": {"refresh_per_minute": 1},
            "route": [basket],
        },
        {"name": "desk", "public_url": f"http://localhost:{port}/desk"},
    ]
    async with running_world(
        redis_server,
        port=port,
        frontends=frontends,
        route={"websocket": True},
        forward_auth={"secrets": ["a-secret-of-the-reverse-proxy-00000"]},
    ) as world:
        yield world


async def signed_in(world: World, origin: str, base: str = "") -> Browser:
    browser = Browser(origin)
    await world.stack.enter_async_context(browser.client)
    await browser.sign_in(base_path=base)
    assert browser.handle is not None
    return browser


async def test_no_session_of_one_is_anothers(world: World) -> None:
    """A cookie copied by hand is nobody's elsewhere: calls, sockets, own endpoints, forward-auth."""
    main, shop = world.url, f"http://127.0.0.1:{world.port}"
    at = {
        "main": (main, "", "bff", (await signed_in(world, main)).handle),
        "shop": (shop, "", "bff", (await signed_in(world, shop)).handle),
        "desk": (main, "/desk", "bff.desk", (await signed_in(world, main, "/desk")).handle),
    }
    assert 3 == len({handle for *_, handle in at.values()})
    for name, (origin, base, cookie, own) in at.items():
        async with httpx.AsyncClient(base_url=origin, timeout=60) as client:
            for whose, (*_, handle) in at.items():
                told = {**CSRF, "Cookie": f"{cookie}={handle}"}
                expected = 200 if whose == name else 401
                for path in ("/api/orders", "/api/orders", "/bff/user", "/bff/sessions"):
                    answer = await client.get(base + path, headers=told)
                    assert expected == answer.status_code, (name, whose, path)
                asking = {
                    "BFF-Forward-Auth": "a-secret-of-the-reverse-proxy-00000",
                    "X-Forwarded-Host": origin.partition("://")[2],
                    "X-Forwarded-Method": "GET",
                    "X-Forwarded-Uri": f"{base}/api/orders",
                }
                answer = await client.get("/bff/forward-auth", headers={**told, **asking})
                assert expected == answer.status_code, (name, whose)
                if whose != name:
                    assert 401 == (await client.get(f"{base}/bff/events", headers=told)).status_code
                    upgrade = {**told, **UPGRADE, "Origin": origin}
                    assert (await client.get(f"{base}/api/ws", headers=upgrade)).status_code in {401, 403}
                    await client.post(f"{base}/bff/logout", headers=told)
            mine = {**CSRF, "Cookie": f"{cookie}={own}"}
            user = (await client.get(f"{base}/bff/user", headers=mine)).json()
            assert (name == "shop") == (user["session"]["expires_in"] <= 1860)
            listed = await client.get(f"{base}/bff/sessions", headers=mine)
            assert [user["session"]["id"]] == [each["id"] for each in listed.json()["sessions"]]


async def test_no_route_limit_or_cookie_of_one_is_anothers(world: World) -> None:
    """A route of its own, a limit of its own, cookies beside each other, and no other host at all."""
    main, shop = await signed_in(world, world.url), await signed_in(world, f"http://127.0.0.1:{world.port}")
    assert (404, 502) == (
        (await main.call("/basket")).status_code,
        (await shop.call("/basket")).status_code,
    )
    assert [200, 429] == [(await shop.call("/bff/refresh", "POST")).status_code for _ in range(2)]
    assert [200, 200] == [(await main.call("/bff/refresh", "POST")).status_code for _ in range(2)]
    await main.sign_in(base_path="/desk")
    names = {cookie.name for cookie in main.client.cookies.jar if cookie.domain.startswith("localhost")}
    assert {"bff", "bff.desk"} <= names
    assert 200 == (await main.call("/desk/bff/user")).status_code
    assert 200 == (await main.call("/desk/bff/logout", "POST")).status_code
    assert (401, 200) == ((await main.call("/desk/bff/user")).status_code, (await main.user()).status_code)
    elsewhere = await main.client.get("/bff/user", headers={**CSRF, "Host": "elsewhere.example"})
    assert (421, "wrong_host") == (elsewhere.status_code, elsewhere.json()["code"])
    with world.redis.client() as client:
        records = [client.hgetall(name) for name in client.scan_iter("bff:session:*")]
    assert {None, "shop"} == {record.get("frontend") for record in records}
