"""Several frontends in one process, by host and by path: nothing of one is another's."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from bff.embedded import free_port
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, UVICORN, Browser, World, running_world

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


async def raw(world: World, *requests: str) -> list[tuple[int, bytes]]:
    """Sends requests at once on one connection; the status and the rest of each answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    text = "".join(f"{request}\r\n\r\n" for request in requests)
    writer.write(text.replace("{}", str(world.port)).encode("latin-1"))
    answers = []
    async with asyncio.timeout(60):
        for _ in requests:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1])) if length else b""
            answers.append((int(head.split(b" ", 2)[1]), head + body))
    writer.close()
    return answers


async def test_no_request_is_of_two_frontends(world: World) -> None:
    """Hosts and paths that could be read in two ways are refused, or are one frontend's for all."""
    browser = await signed_in(world, world.url)
    await browser.sign_in(base_path="/desk")
    both = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.client.cookies.jar)
    own = f"Cookie: {both}\r\nX-CSRF: 1\r\n"
    get = "GET {path} HTTP/1.1\r\n" + own + "Host: {host}"
    hosts = {
        "localhost:{}": 200,
        "LOCALHOST:{}": 200,
        "127.0.0.1:{}": 401,  # the shop, which knows neither cookie
        "localhost.:{}": 421,
        "localhost": 421,
        "localhost:0{}": 421,
        "localhost:{}@127.0.0.1:{}": 421,
        "localhost:{}, 127.0.0.1:{}": 421,
        "127.1:{}": 421,
        "[::1]:{}": 421,
        "": 421,
    }
    for host, expected in hosts.items():
        ((status, _),) = await raw(world, get.format(path="/api/orders", host=host))
        assert expected == status, host
    absolute = get.format(path="http://127.0.0.1:{}/api/orders", host="localhost:{}")
    if not UVICORN:  # a stock server keeps the target's host to itself
        assert [400] == [status for status, _ in await raw(world, absolute)]
    paths = {
        "/desk/api/orders": 200,
        "/desk/../api/orders": 400,
        "/desk/%2e%2e/api/orders": 400,
        "/desk/..;/api/orders": 400,
        "/desk%2fapi/orders": 404,
        "//desk/api/orders": 400,
        "/DESK/api/orders": 404,
        "/deskapi/orders": 404,
        "/api/%2e%2e/desk/api/orders": 400,
        "/desk": 404,
    }
    for path, expected in paths.items():
        ((status, answer),) = await raw(world, get.format(path=path, host="localhost:{}"))
        assert expected == status, (path, answer)
    mixed = [get.format(path="/api/orders", host=host) for host in ("localhost:{}", "127.0.0.1:{}") * 3]
    assert [200, 401] * 3 == [status for status, _ in await raw(world, *mixed)]


async def test_no_sign_in_leads_into_another_frontend(world: World) -> None:
    """Its last step would be a request of this origin, with the other's cookie: a foreign page's link."""
    async with httpx.AsyncClient(base_url=world.url, timeout=60) as client:
        for base, return_to in [
            ("", "/desk/api/orders"),
            ("", "/desk/bff/logout"),
            ("", "/desk/page"),
            ("", "/x/..%2fdesk/api"),
            ("/desk", "/api/orders"),
            ("/desk", "/bff/logout"),
            ("/desk", "/desk/api/orders"),
        ]:
            answer = await client.get(f"{base}/bff/login", params={"return_to": return_to})
            assert (400, "bad_return_to") == (answer.status_code, answer.json()["code"]), (base, return_to)
        for base, page in [("", "/desks/page"), ("/desk", "/desk/page"), ("/desk", "/page")]:
            answer = await client.get(f"{base}/bff/login", params={"return_to": page})
            assert 302 == answer.status_code


@pytest.mark.requirement("B-24")
async def test_lines_and_metrics_name_frontend_and_provider(redis_server: RedisServer) -> None:
    """Calls on any path, endpoints, sign-ins that come to something or nothing, endings."""
    port = free_port()
    shop_at = f"http://127.0.0.1:{port}"
    frontends = [{"name": "shop", "public_url": shop_at, "providers": ["main"]}]
    gone = {"path": "/gone", "upstream": "http://127.0.0.1:1"}
    async with running_world(
        redis_server, port=port, frontends=frontends, others={"partners": {}}, routes=[gone]
    ) as world:
        with capture_logs() as lines:
            shop, guest = await signed_in(world, shop_at), await world.browser()
            await guest.sign_in(provider="partners")
            for browser in (shop, guest):
                assert 502 == (await browser.call("/gone")).status_code
                for _ in range(3):
                    assert 200 == (await browser.call("/api/orders")).status_code
                assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
                assert 200 == (await browser.call("/bff/logout", "POST")).status_code
                assert 400 == (await browser.call("/bff/backchannel-logout", "POST")).status_code
                assert 403 == (await browser.client.get("/bff/user")).status_code
                assert 403 == (await browser.client.get("/api/orders")).status_code
        sample = world.app.metrics.registry.get_sample_value

        def told(event: str, **wanted: str) -> list[tuple[str | None, str | None]]:
            ours = [line for line in lines if "client_id" not in line]  # the others are the issuer's
            found = [line for line in ours if event == line["event"] and wanted.items() <= line.items()]
            return [(line.get("frontend"), line.get("provider")) for line in found]

        of_shop, of_guest = ("shop", "main"), ("default", "partners")
        assert [*[of_shop] * 3, ("shop", None), *[of_guest] * 3, ("default", None)] == told(
            "request", path="/api/orders"
        )
        assert [("shop", None), ("default", None)] == told("upstream_fault")
        for path in ("/bff/refresh", "/bff/logout"):
            assert [of_shop, of_guest] == told("request", path=path)
        for event in ("signed_in", "tokens_refreshed", "tokens_revoked", "signed_out", "session_ended"):
            assert [of_shop, of_guest] == told(event), event
        for event, times in (("logout_token_rejected", 1), ("csrf_rejected", 2)):
            assert [*[("shop", None)] * times, *[("default", None)] * times] == told(event), event
        for labels in ({"frontend": "shop", "provider": "main"}, {"provider": "partners"}):
            assert 1 == sample("bff_logins_total", {**labels, "outcome": "signed_in"})
        for labels in ({"frontend": "shop"}, {}):
            assert 1 == sample("bff_sessions_ended_total", {**labels, "reason": "logout"})
        counted = {"frontend": "shop", "route": "/api", "method": "GET"}
        assert 3 == sample("bff_requests_total", {**counted, "status": "2xx"})
        assert 1 == sample("bff_requests_total", {**counted, "route": "-", "status": "4xx"})
