"""A page that is for signed-in users alone (`spa.auth = "required"`), under a base path."""

from pathlib import Path

import pytest

from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, Browser, World, running_world

HERE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
LINKED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
LOGIN = "/shop/bff/login?return_to=%2Fshop%2Forders%3Fx%3D1&unless=signed_in"
PAGE = "/shop/orders?x=1"


@pytest.mark.requirement("B-28", "B-37", "O-10")
async def test_a_page_for_users(redis_server: RedisServer, tmp_path: Path) -> None:
    """People are sent to sign in and back to their address; nothing of the page passes before."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<script src="/assets/app.js"></script>the page')
    (tmp_path / "assets" / "app.js").write_text("the script")
    (tmp_path / "goodbye.html").write_text("goodbye")
    spa = {"dir": tmp_path, "auth": "required", "public": ["/goodbye.html", "/fonts/"]}
    async with running_world(redis_server, server={"base_path": "/shop"}, spa=spa) as world:
        browser = await world.browser()
        await _nobody_gets_in(browser)
        await _sign_in(world, browser)
        await _a_user_gets_it(redis_server, browser)
        redis_server.stop()
        away = await browser.client.get("/shop/assets/app.js", headers=CSRF)
        assert (503, "store_unavailable") == (away.status_code, away.json()["code"])


async def _nobody_gets_in(browser: Browser) -> None:
    script = await browser.client.get("/shop/assets/app.js", headers={"Sec-Fetch-Mode": "no-cors"})
    assert (401, "session_missing") == (script.status_code, script.json()["code"])
    assert "/shop/bff/login" == script.json()["login_url"]
    assert 401 == (await browser.client.head(PAGE, headers=HERE)).status_code
    ahead = await browser.client.get(PAGE, headers={**HERE, "Sec-Purpose": "prefetch"})
    assert 503 == ahead.status_code
    assert "goodbye" == (await browser.client.get("/shop/goodbye.html", headers=LINKED)).text
    for path, status in (("none.woff2", 404), ("%2e%2e/index.html", 400), ("..%2findex.html", 400)):
        assert status == (await browser.client.get(f"/shop/fonts/{path}", headers=HERE)).status_code
    failed = await browser.client.get(f"{PAGE}&bff_error=access_denied", headers=HERE)
    assert 401 == failed.status_code
    assert 'href="/shop/bff/login?return_to=%2Fshop%2Forders%3Fx%3D1"' in failed.text
    linked = await browser.client.get(PAGE, headers=LINKED)
    assert (200, f"0; url={LOGIN}", "no-store") == (
        linked.status_code,
        linked.headers["refresh"],
        linked.headers["cache-control"],
    )


async def _sign_in(world: World, browser: Browser) -> None:
    answer = await browser.client.get(PAGE, headers=HERE)
    assert (302, LOGIN) == (answer.status_code, answer.headers["location"])
    assert world.issuer.url in (await browser.client.get(LOGIN)).headers["location"]
    landed = await browser.sign_in(return_to=PAGE, base_path="/shop")
    assert PAGE == landed.request.url.raw_path.decode()
    assert "the page" in (await browser.client.get(PAGE, headers=HERE)).text


async def _a_user_gets_it(redis: RedisServer, browser: Browser) -> None:
    """With its cookie all of it passes; a link of another site costs no new sign-in, and no session."""
    handle = browser.handle
    script = await browser.client.get("/shop/assets/app.js", headers={"Sec-Fetch-Mode": "no-cors"})
    assert ("the script", "private, max-age=31536000, immutable") == (
        script.text,
        script.headers["cache-control"],
    )
    back = await browser.client.get(LOGIN, headers={**HERE, "Sec-Fetch-Site": "same-origin"})
    assert (303, PAGE) == (back.status_code, back.headers["location"])
    assert handle == browser.handle
    with redis.client() as client:
        assert 1 == len(list(client.scan_iter("bff:session:*")))
