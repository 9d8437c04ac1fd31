"""Addresses that act by GET, asked by what is no navigation."""

from typing import NamedTuple

import httpx
import pytest

from bff.session.sessions import Found
from tests.web.site import Browser, Site

CONTINUE = "/bff/logout/continue"
AHEAD = [
    {"sec-purpose": "prefetch", "sec-fetch-mode": "no-cors"},
    {"sec-purpose": "prefetch;prerender"},
    {"purpose": "prefetch"},
    {"x-moz": "prefetch"},
]


class Ask(NamedTuple):
    """What is sent, and what it gets."""

    method: str
    headers: dict[str, str]
    status: int
    code: str | None


NO_NAVIGATION = pytest.mark.parametrize(
    "ask",
    [
        *(Ask("GET", headers, 503, "prefetch_refused") for headers in AHEAD),
        *(Ask("GET", {"sec-fetch-mode": mode}, 403, "csrf_rejected") for mode in ("no-cors", "cors")),
        Ask("HEAD", {}, 405, None),
        Ask("HEAD", {"sec-purpose": "prefetch"}, 405, None),
    ],
    ids=lambda ask: "-".join([ask.method, *ask.headers.values()]),
)

pytestmark = pytest.mark.requirement("B-37")


async def refused(browser: Browser, path: str, ask: Ask) -> httpx.Response:
    """Asks, and finds the refusal, that no cookie was set or cleared, and that nothing may be kept."""
    before = dict(browser.cookies)
    answer = await browser.request(ask.method, path, headers=ask.headers)
    assert before == browser.cookies
    assert "set-cookie" not in answer.headers
    assert "no-store" == answer.headers["cache-control"]
    assert "location" not in answer.headers
    assert ask.status == answer.status_code
    if ask.code is not None:
        assert ask.code == answer.json()["code"]
    return answer


@NO_NAVIGATION
async def test_nobody_is_signed_out(site: Site, browser: Browser, ask: Ask) -> None:
    """The session lives and nothing is revoked; the click that follows signs out."""
    await site.sign_in(browser)
    answer = await refused(browser, site.logout_url(browser), ask)
    if ask.status == 405:
        assert "GET, POST" == answer.headers["allow"]
    assert [] == site.provider.revoked
    assert isinstance(await site.signed_in(browser), Found)
    assert 303 == (await browser.get(site.logout_url(browser))).status_code
    assert ["refresh-of-code-1"] == site.provider.revoked


@NO_NAVIGATION
async def test_the_way_out_stays_open(site: Site, browser: Browser, ask: Ask) -> None:
    """The callback page, which works once, is not used up."""
    await site.sign_in(browser)
    await browser.post("/bff/logout")
    await refused(browser, CONTINUE, ask)
    assert site.provider.base in (await browser.get(CONTINUE)).headers["location"]


@NO_NAVIGATION
async def test_a_sign_in_is_not_finished(site: Site, browser: Browser, ask: Ask) -> None:
    """Neither callback nor finish does anything: the state and the code are spent by the navigation alone."""
    back = site.provider.answer_to(await site.login(browser))
    await refused(browser, back, ask)
    page = await browser.get(back, origin="cross-site")
    await refused(browser, "/bff/callback/finish", ask)
    assert not isinstance(await site.signed_in(browser), Found)
    assert "/" == (await browser.follow(page)).headers["location"]
    assert isinstance(await site.signed_in(browser), Found)


@NO_NAVIGATION
async def test_no_sign_in_begins(browser: Browser, ask: Ask) -> None:
    """No transaction is begun, and none of those under way is pushed out."""
    await refused(browser, "/bff/login?return_to=/x", ask)


@pytest.mark.requirement("B-38")
async def test_a_refusal_says_what_is_asked_for(site: Site, browser: Browser) -> None:
    """Reason and detail: the header by its name, the navigation, the `sid`; and where it is written down."""
    await site.sign_in(browser)
    for answer, reason, wanted in (
        (await browser.post("/bff/logout", headers={"x-csrf": "0"}), "csrf_header_invalid", "`X-CSRF: 1`"),
        (
            await browser.get("/bff/login", headers={"sec-fetch-mode": "cors"}),
            "fetch_mode",
            "by a navigation",
        ),
        (await browser.get("/bff/logout?sid=wrong"), "sid", "logout_url"),
        (
            await browser.get(site.logout_url(browser), headers={"sec-fetch-site": "cross-site"}),
            "fetch_site",
            "Sec-Fetch-Site",
        ),
    ):
        body = answer.json()
        assert (403, "csrf_rejected", reason) == (answer.status_code, body["code"], body["reason"])
        assert wanted in body["detail"]
        assert "documentation of bff" in body["detail"]
