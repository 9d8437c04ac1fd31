"""Errors for people and for scripts: the same status, in a form that each can read."""

from typing import Any

import pytest

from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, World, running_world

NAVIGATION = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
    "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
}
OLD_BROWSER = {"Accept": NAVIGATION["Accept"]}

pytestmark = [pytest.mark.requirement("B-38"), pytest.mark.usefixtures("both_fronts")]


@pytest.mark.parametrize("asked", [NAVIGATION, OLD_BROWSER], ids=["navigation", "old"])
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/bff/nothing", 404, "no_route"),
        ("/bff/login?return_to=//evil.example", 400, "bad_return_to"),
        ("/bff/login?return_to=/&prompt=<script>", 400, "bad_request"),
        ("/bff/user", 403, "csrf_rejected"),
        ("/api/orders", 403, "csrf_rejected"),
        ("/api/a%00b", 400, "bad_request"),
    ],
)
async def test_a_navigation_gets_a_page(
    world: World, path: str, status: int, code: str, asked: dict[str, str]
) -> None:
    """One page, complete, not to be kept, which runs nothing and repeats nothing of the request."""
    browser = await world.browser()
    answer = await browser.client.get(path, headers=asked)
    assert (status, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert ("no-store", "nosniff") == (
        answer.headers["cache-control"],
        answer.headers["x-content-type-options"],
    )
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert str(len(answer.content)) == answer.headers["content-length"]
    assert f"{status} {code}" in answer.text
    assert "<script" not in answer.text
    assert "evil" not in answer.text
    assert f'bff_problems_total{{code="{code}"}} 1.0' in world.app.metrics.render()[0].decode()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        CSRF,
        {"Accept": "*/*"},
        {"Accept": "application/json, text/plain, */*"},
        {"Sec-Fetch-Mode": "cors", "Accept": "text/html"},
        {"Sec-Fetch-Mode": "no-cors", "Accept": "image/avif,*/*"},
    ],
)
@pytest.mark.parametrize("path", ["/bff/nothing", "/api/a%00b"])
async def test_a_script_gets_a_document(world: World, path: str, headers: dict[str, Any]) -> None:
    """`fetch`, axios, curl and pictures: problem+json, as ever."""
    browser = await world.browser()
    answer = await browser.client.get(path, headers=headers)
    assert "application/problem+json" == answer.headers["content-type"]
    assert answer.json()["status"] == answer.status_code


async def test_a_page_that_is_no_error_passes(world: World) -> None:
    """Redirects, and a backend's own problem documents, are left as they are."""
    browser = await world.browser()
    answer = await browser.client.get("/bff/login", headers=NAVIGATION)
    assert 302 == answer.status_code
    assert "content-security-policy" not in answer.headers


async def test_the_page_asks_who_is_signed_out_to_sign_in(world: World) -> None:
    """On a route for navigations, 401 leads to sign-in, and says which header scripts send on the others."""
    browser = await world.browser()
    answer = await browser.client.get("/api/orders", headers=NAVIGATION)
    assert "Send the header <code>X-CSRF: 1</code>" in answer.text
    assert "documentation of bff" in answer.text
    body = (await browser.client.get("/api/orders")).json()
    assert ("csrf_rejected", "csrf_header_missing") == (body["code"], body["reason"])
    assert "Send the header `X-CSRF: 1`" in body["detail"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/bff/nothing", "no_route"),
        ("/bff/login?return_to=//evil.example", "bad_return_to"),
        ("/api/orders", "csrf_rejected"),
        ("/api/a%00b", "bad_request"),
    ],
)
async def test_a_page_of_the_apps_own(redis_server: RedisServer, path: str, code: str) -> None:
    """A navigation is led to it with the code; a script gets the document as ever."""
    async with running_world(redis_server, spa={"error_page": "/oops?from=bff"}) as world:
        browser = await world.browser()
        answer = await browser.client.get(path, headers=NAVIGATION)
        assert (303, f"/oops?from=bff&bff_error={code}") == (answer.status_code, answer.headers["location"])
        assert ("no-store", b"") == (answer.headers["cache-control"], answer.content)
        document = await browser.client.get(path, headers={"Accept": "application/json"})
        assert code == document.json()["code"]
        here = await browser.client.get(f"/oops?bff_error={code}", headers=NAVIGATION)
        assert "404 no_route" in here.text
        prefetched = await browser.client.get("/bff/login", headers={**NAVIGATION, "Sec-Purpose": "prefetch"})
        assert 503 == prefetched.status_code
