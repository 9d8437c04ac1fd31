"""Sign-out: revoke, delete, clear, and on to the provider."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from bff.oidc.client import OidcClient
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from bff.settings.model import SessionSettings
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.web.site import Browser, Site, running_site

CONTINUE = "/bff/logout/continue"


@pytest.fixture(name="signed_in")
async def _signed_in(site: Site, browser: Browser) -> Found:
    await site.sign_in(browser)
    found = await site.signed_in(browser)
    assert isinstance(found, Found)
    return found


def query(location: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(location).query)


@pytest.mark.requirement("L-01", "B-26", "B-35")
async def test_a_script_signs_out(site: Site, browser: Browser, signed_in: Found) -> None:
    """200 with where to go; token revoked, session gone, cookie and kept answers cleared."""
    answer = await browser.post("/bff/logout")
    assert (200, {"redirect": CONTINUE, "provider_revoked": True, "provider_sign_out": True}) == (
        answer.status_code,
        answer.json(),
    )
    assert answer.headers["clear-site-data"] == '"cache"'
    assert answer.headers["cache-control"] == "no-store"
    assert ["refresh-of-code-1"] == site.provider.revoked
    assert browser.session() is None
    gone = await site.sessions.open(signed_in.handle)
    assert isinstance(gone, NoSession)
    assert gone.reason == "logout"


@pytest.mark.requirement("L-01")
async def test_a_navigation_signs_out_by_its_own_link(site: Site, browser: Browser, signed_in: Found) -> None:
    """303 to the next step, with the same effect."""
    assert signed_in.session.sub == "alice"
    answer = await browser.get(site.logout_url(browser))
    assert (303, CONTINUE) == (answer.status_code, answer.headers["location"])
    assert answer.headers["clear-site-data"] == '"cache"'
    assert ["refresh-of-code-1"] == site.provider.revoked
    assert isinstance(await site.sessions.open(signed_in.handle), NoSession)


@pytest.mark.requirement("L-01", "B-08")
@pytest.mark.usefixtures("signed_in")
async def test_the_way_out_leads_through_the_provider_once(site: Site, browser: Browser) -> None:
    """The ID token stands in that one Location and nowhere else; the second time there is no way."""
    await browser.post("/bff/logout")
    kept = dict(browser.cookies)
    answer = await browser.get(CONTINUE)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{site.provider.base}/end?")
    found = query(answer.headers["location"])
    assert ["https://app.example/"] == found["post_logout_redirect_uri"]
    assert ["spa-bff"] == found["client_id"]
    assert found["id_token_hint"][0].startswith("eyJ")
    others = "".join(each.text + str(each.headers.raw) for each in browser.answers[:-1])
    assert found["id_token_hint"][0] not in others
    browser.cookies = kept
    assert (await browser.get(CONTINUE)).headers["location"] == "/"
    assert "__Host-Http-bff-logout" not in browser.cookies


@pytest.mark.usefixtures("signed_in")
async def test_the_way_out_closes_after_a_minute(site: Site, browser: Browser) -> None:
    """On the server, whatever the browser keeps."""
    await browser.post("/bff/logout")
    site.clock.ahead = 61
    assert (await browser.get(CONTINUE)).headers["location"] == "/"


@pytest.mark.parametrize("cookie", ["x", "1.2.3", "a; __Host-Http-bff-logout=b"])
async def test_a_way_out_that_we_did_not_seal_leads_home(browser: Browser, cookie: str) -> None:
    """It is cleared, and nobody is sent anywhere else."""
    browser.cookies["__Host-Http-bff-logout"] = (cookie, "Strict")
    answer = await browser.get(CONTINUE)
    assert (303, "/") == (answer.status_code, answer.headers["location"])
    assert {} == browser.cookies
    assert (await browser.get(CONTINUE)).headers["location"] == "/"


@pytest.mark.requirement("L-01")
async def test_without_the_hint_no_id_token_leaves(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """`end_session_hint = false`: the client and the person are named, and no token is sent."""
    settings: dict[str, Any] = {"end_session_hint": False, "post_logout_path": "/bye"}
    async with running_site(redis_server, provider, **settings) as site:
        browser = site.browser()
        await site.sign_in(browser)
        await browser.post("/bff/logout")
        found = query((await browser.get(CONTINUE)).headers["location"])
        assert {
            "client_id": ["spa-bff"],
            "logout_hint": ["alice"],
            "post_logout_redirect_uri": ["https://app.example/bye"],
        } == found


async def test_an_id_token_too_long_for_a_cookie_is_left_out(site: Site, browser: Browser) -> None:
    """The sign-out at the provider goes by `logout_hint` then."""
    site.provider.claims = {"groups": ["g" * 4000]}
    await site.sign_in(browser)
    await browser.post("/bff/logout")
    found = query((await browser.get(CONTINUE)).headers["location"])
    assert ["alice"] == found["logout_hint"]
    assert "id_token_hint" not in found


async def test_a_person_too_long_for_a_cookie_ends_at_our_page(site: Site, browser: Browser) -> None:
    """There is no way out that a browser would keep, and the answer says so."""
    await site.sign_in(browser)
    answer_url = "https://id.example/end?" + "x" * 4000

    async def far(**_: Any) -> str:
        return answer_url

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OidcClient, "end_session_url", lambda _, **given: far(**given))
        answer = await browser.post("/bff/logout")
    assert answer.json()["provider_sign_out"] is False
    assert (await browser.get(CONTINUE)).headers["location"] == "/"


async def test_a_provider_without_a_sign_out_page(site: Site, browser: Browser) -> None:
    """The way out leads to our own page, and the answer says so."""
    site.provider.end_session = False
    await site.sign_in(browser)
    assert (await browser.post("/bff/logout")).json()["provider_sign_out"] is False
    assert (await browser.get(CONTINUE)).headers["location"] == "/"


@pytest.mark.requirement("L-02")
async def test_sign_out_works_while_the_provider_is_down(
    site: Site, browser: Browser, signed_in: Found
) -> None:
    """The session ends here, and the answer says what could not be done there."""
    site.provider.stop()
    answer = await browser.post("/bff/logout")
    assert (200, False) == (answer.status_code, answer.json()["provider_revoked"])
    assert isinstance(await site.sessions.open(signed_in.handle), NoSession)
    assert browser.session() is None
    site.provider.start()


@pytest.mark.requirement("L-02")
async def test_sign_out_does_not_wait_for_a_provider_that_hangs(
    site: Site, browser: Browser, signed_in: Found
) -> None:
    """It gives up on the revocation, and ends the session."""
    site.provider.slow = 4.0
    answer = await asyncio.wait_for(browser.post("/bff/logout"), 10)
    assert answer.json()["provider_revoked"] is False
    assert isinstance(await site.sessions.open(signed_in.handle), NoSession)
    site.provider.slow = 0.0


@pytest.mark.requirement("T-10", "B-35")
@pytest.mark.parametrize("by", ["script", "navigation", "continue"])
async def test_a_store_that_is_down_is_said(
    site: Site, browser: Browser, signed_in: Found, redis_server: RedisServer, by: str
) -> None:
    """503 and the cookie untouched: a sign-out that did not happen is not shown as one."""
    assert signed_in.handle == browser.session()
    url = site.logout_url(browser)
    if by == "continue":
        await browser.post("/bff/logout")
    redis_server.stop()
    match by:
        case "script":
            answer = await browser.post("/bff/logout")
        case "navigation":
            answer = await browser.get(url)
        case _:
            answer = await browser.get(CONTINUE)
    assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
    assert "set-cookie" not in answer.headers
    redis_server.start()


@pytest.mark.requirement("L-03", "B-09", "B-10", "B-11")
@pytest.mark.parametrize(
    "headers",
    [
        {"x-csrf": "0"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
async def test_a_foreign_page_cannot_call_sign_out(
    site: Site, browser: Browser, signed_in: Found, headers: dict[str, str]
) -> None:
    """No CSRF header, a foreign site or origin: 403, and nothing ends."""
    await still_signed_in(site, browser, signed_in, await browser.post("/bff/logout", headers=headers))


@pytest.mark.requirement("L-03")
@pytest.mark.parametrize(
    ("sid", "fetch_site"),
    [("", "same-origin"), ("x" * 43, "none"), ("foreign", "same-origin"), ("right", "cross-site")],
)
async def test_a_foreign_page_cannot_lead_to_sign_out(
    site: Site, browser: Browser, signed_in: Found, sid: str, fetch_site: str
) -> None:
    """No `sid`, another session's, or the right one from another site: 403, and nothing ends."""
    other = site.browser()
    await site.sign_in(other)
    urls = {"right": site.logout_url(browser), "foreign": site.logout_url(other)}
    url = urls.get(sid, f"/bff/logout?sid={sid}")
    answer = await browser.get(url, headers={"sec-fetch-site": fetch_site})
    await still_signed_in(site, browser, signed_in, answer)


async def still_signed_in(site: Site, browser: Browser, found: Found, answer: httpx.Response) -> None:
    assert (403, "csrf_rejected") == (answer.status_code, answer.json()["code"])
    assert isinstance(await site.sessions.open(found.handle), Found)
    assert found.handle == browser.session()
    assert [] == site.provider.revoked


async def test_nobody_can_sign_out_as_well(site: Site, browser: Browser, signed_in: Found) -> None:
    """A session that has ended elsewhere: 200, and the cookie goes; without one nothing is done."""
    url = site.logout_url(browser)
    cookies = dict(browser.cookies)
    await site.sessions.end(signed_in.session, EndReason.INVALID_GRANT)
    answer = await browser.post("/bff/logout")
    assert (200, False, False) == (
        answer.status_code,
        answer.json()["provider_revoked"],
        answer.json()["provider_sign_out"],
    )
    assert browser.session() is None
    browser.cookies = cookies
    assert (await browser.get(url)).headers["location"] == CONTINUE
    assert browser.session() is None
    assert (await browser.get(url)).headers["location"] == CONTINUE


async def test_without_a_refresh_token_the_access_token_is_revoked(site: Site, browser: Browser) -> None:
    """What there is."""
    location = await site.login(browser)
    path = site.provider.answer_to(location)
    form = {"code": query(path)["code"][0]}
    status, document = site.provider._tokens(form)
    site.provider.token_answer = (status, {k: v for k, v in document.items() if k != "refresh_token"})
    await browser.follow(await browser.get(path, origin="cross-site"))
    assert (await browser.post("/bff/logout")).json()["provider_revoked"] is True
    assert ["access-of-code-1"] == site.provider.revoked


@pytest.mark.requirement("B-27")
@pytest.mark.usefixtures("signed_in")
async def test_a_sign_out_is_an_audit_event(browser: Browser) -> None:
    """Who, from where, and whether the provider confirmed."""
    with capture_logs() as logs:
        await browser.post("/bff/logout")
    (event,) = [each for each in logs if each["event"] == "signed_out"]
    assert ("alice", "127.0.0.1", True) == (event["sub"], event["address"], event["provider_revoked"])


@pytest.mark.parametrize(("expected", "kinds"), [('"cache", "storage"', ["cache", "storage"]), (None, [])])
async def test_how_much_a_browser_forgets_is_a_setting(
    redis_server: RedisServer, provider: ServedProvider, expected: str | None, kinds: list[str]
) -> None:
    """`session.clear_site_data`; with "storage" what a page has kept for itself goes, too."""
    session = SessionSettings.model_validate({"clear_site_data": kinds})
    async with running_site(redis_server, provider, session=session) as site:
        browser = site.browser()
        await site.sign_in(browser)
        answer = await browser.post("/bff/logout")
        assert (200, expected) == (answer.status_code, answer.headers.get("clear-site-data"))
