"""The proxy under a path of its origin: every address that a browser is given lies below it."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, World, running_world

BASE = "/shop"


@pytest.mark.usefixtures("both_fronts")
async def test_everything_lies_under_the_base_path(redis_server: RedisServer, tmp_path: Path) -> None:
    """Sign-in, user, calls, page, events, client module and sign-out, each below `/shop`, none elsewhere."""
    (tmp_path / "index.html").write_text("the page")
    async with running_world(redis_server, server={"base_path": BASE}, spa={"dir": tmp_path}) as world:
        told: list[Received] = []

        async def orders(request: Received) -> Reply:
            told.append(request)
            location = b"http://127.0.0.1:%d/orders/7" % world.backend.port
            return Reply(302, [(b"location", location)])

        world.reply = orders
        browser = await world.browser()
        refused = await browser.call(f"{BASE}/bff/user")
        assert (401, f"{BASE}/bff/login") == (refused.status_code, refused.json()["login_url"])
        assert f"{BASE}/bff/login" == (await browser.call(f"{BASE}/api/orders")).json()["login_url"]
        assert f"{BASE}/bff/login" == (await browser.call(f"{BASE}/bff/events")).json()["login_url"]
        assert (200, "the page") == _text(await browser.sign_in(return_to=f"{BASE}/", base_path=BASE))
        assert ["bff.shop"] == [
            name for name in browser.client.cookies if name.startswith("bff") and "..tx-" not in name
        ]
        user = (await browser.call(f"{BASE}/bff/user")).json()
        assert user["logout_url"].startswith(f"{BASE}/bff/logout?sid=")
        moved = await browser.call(f"{BASE}/api/orders")
        assert (302, f"{BASE}/api/orders/7") == (moved.status_code, moved.headers["location"])
        assert (b"/orders", [b"/shop/api"]) == (told[-1].target, told[-1].values(b"x-forwarded-prefix"))
        await _nothing_elsewhere(world, browser)
        lost = await browser.client.get(f"{BASE}/bff/nothing", headers={"Sec-Fetch-Mode": "navigate"})
        assert f'<a href="{BASE}/">' in lost.text
        refused = await browser.client.get(f"{BASE}/api/a%2Fb", headers={"Sec-Fetch-Mode": "navigate"})
        assert (400, True) == (refused.status_code, f'<a href="{BASE}/">' in refused.text)
        assert '"base": "/shop/bff"' in (await browser.client.get(f"{BASE}/bff/client.js")).text
        for path, method, expected in (
            ("nothing", "PUT", (404, None)),
            ("sessions", "PUT", (405, "DELETE, GET, HEAD")),
            ("refresh", "GET", (405, "POST")),
        ):
            answer = await browser.call(f"{BASE}/bff/{path}", method)
            assert expected == (answer.status_code, answer.headers.get("allow")), path
        left = await browser.call(f"{BASE}/bff/logout", "POST")
        assert f"{BASE}/bff/logout/continue" == left.json()["redirect"]
        assert (await browser.client.get(left.json()["redirect"])).is_redirect


def _text(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.text


async def _nothing_elsewhere(world: World, browser: Any) -> None:
    before = len(world.backend.requests)
    for path in ("/bff/user", "/api/orders", "/", "/shopping", "/SHOP/api/orders"):
        assert 404 == (await browser.client.get(path, headers=CSRF)).status_code, path
    assert (307, f"{BASE}/") == (
        (answer := await browser.client.get(BASE)).status_code,
        answer.headers["location"],
    )
    for taken in (f"{BASE}/bff/user", f"{BASE}/api/orders", f"{BASE}/API/x"):
        answer = await browser.client.get(f"{BASE}/bff/login", params={"return_to": taken})
        assert 400 == answer.status_code, taken
    assert before == len(world.backend.requests)
