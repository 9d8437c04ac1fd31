"""Sign-in once more, too late, or twice at once: no dead end, no loop, nobody else's session."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.errors import StoreUnavailableError
from bff.session.sessions import Found, NoSession
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.support.wait import until
from tests.web.site import Browser, Site, query, running_site


@pytest.mark.requirement("B-19")
async def test_a_new_sign_in_ends_the_browsers_former_session(site: Site, browser: Browser) -> None:
    """Also when it begins on another site, where the Strict cookie does not come along."""
    await site.sign_in(browser)
    former = browser.session()
    answer = await browser.get("/bff/login", origin="cross-site")
    await site.come_back(browser, answer.headers["location"])
    assert browser.session() != former
    assert isinstance(await site.signed_in(browser), Found)
    gone = await site.sessions.find([f"__Host-Http-bff={former}".encode()])
    assert isinstance(gone, NoSession)
    assert gone.reason == "signed_in_again"


@pytest.mark.requirement("O-11", "B-19")
async def test_two_tabs_sign_in_at_once(site: Site, browser: Browser) -> None:
    """Each ends at its own page; the later one's session is the one that stays."""
    first = await site.login(browser, "/bff/login?return_to=/one")
    second = await site.login(browser, "/bff/login?return_to=/two")
    assert (await site.come_back(browser, second)).headers["location"] == "/two"
    former = browser.session()
    assert (await site.come_back(browser, first)).headers["location"] == "/one"
    assert isinstance(await site.sessions.find([f"__Host-Http-bff={former}".encode()]), NoSession)
    assert isinstance(await site.signed_in(browser), Found)


@pytest.mark.requirement("O-11")
async def test_two_tabs_finish_at_the_same_moment(site: Site, browser: Browser) -> None:
    """Both callbacks are in before either finish: each finish takes one of them."""
    for page in ("/one", "/two"):
        path = site.provider.answer_to(await site.login(browser, f"/bff/login?return_to={page}"))
        await browser.get(path, origin="cross-site")
    both = await asyncio.gather(*(browser.get("/bff/callback/finish") for _ in range(2)))
    assert ["/one", "/two"] == sorted(answer.headers["location"] for answer in both)
    assert ["code-1", "code-2"] == sorted(form["code"] for form in site.provider.codes)


@pytest.mark.requirement("O-11")
async def test_the_first_to_come_back_is_the_first_to_finish(site: Site, browser: Browser) -> None:
    """In the order of the callbacks, not of the logins, so that each tab most likely gets its own page."""
    paths = [
        site.provider.answer_to(await site.login(browser, f"/bff/login?return_to={page}"))
        for page in ("/one", "/two")
    ]
    for path in reversed(paths):
        await browser.get(path, origin="cross-site")
    landed = [(await browser.get("/bff/callback/finish")).headers["location"] for _ in range(2)]
    assert ["/two", "/one"] == landed


@pytest.mark.requirement("O-10")
async def test_a_repeated_callback_lands_where_the_first_did(site: Site, browser: Browser) -> None:
    """Back button, then forward through the provider: signed in, so no error and no second exchange."""
    location = await site.login(browser, "/bff/login?return_to=/orders")
    await site.come_back(browser, location)
    session = browser.session()
    for _ in range(2):
        answer = await site.come_back(browser, location)
        assert (303, "/orders") == (answer.status_code, answer.headers["location"])
    assert (await browser.get("/bff/callback/finish")).headers["location"] == "/"
    assert session == browser.session()
    assert len(site.provider.codes) == 1


@pytest.mark.requirement("O-10")
async def test_a_stale_callback_starts_anew_once(site: Site, browser: Browser) -> None:
    """A code that is too old: the sign-in is begun again by us, and a second failure ends at the page."""
    site.provider.token_answer = (400, {"error": "invalid_grant"})
    again = await site.sign_in(browser, "/bff/login?return_to=/orders&max_age=60&acr_values=a+b")
    assert again.status_code == 302
    asked = query(again.headers["location"])
    assert ("60", "a b") == (asked["max_age"], asked["acr_values"])
    assert len(browser.transactions()) == 1
    answer = await site.come_back(browser, again.headers["location"])
    assert (303, "/orders?bff_error=login_expired") == (answer.status_code, answer.headers["location"])


@pytest.mark.requirement("O-10")
async def test_a_restarted_sign_in_ends_at_the_page(site: Site, browser: Browser) -> None:
    """The second try counts in full."""
    site.provider.token_answer = (400, {"error": "invalid_grant"})
    again = await site.sign_in(browser, "/bff/login?return_to=/orders")
    site.provider.token_answer = None
    answer = await site.come_back(browser, again.headers["location"])
    assert (303, "/orders") == (answer.status_code, answer.headers["location"])
    assert isinstance(await site.signed_in(browser), Found)


@pytest.mark.requirement("O-10")
async def test_a_browser_without_cookies_is_not_sent_in_circles(site: Site, browser: Browser) -> None:
    """One restart, then a page that can say so."""
    browser.blocks_cookies = True
    again = await site.sign_in(browser)
    assert again.status_code == 302
    answer = await site.come_back(browser, again.headers["location"])
    assert (303, "/?bff_error=login_expired") == (answer.status_code, answer.headers["location"])


@pytest.mark.requirement("O-10")
async def test_an_oauth_error_is_never_followed_by_a_restart(site: Site, browser: Browser) -> None:
    """Not on a callback that nobody knows, nor on a repeated one."""
    location = await site.login(browser, "/bff/login?return_to=/orders")
    stranger = site.browser()
    answer = await site.come_back(stranger, location, error="access_denied")
    assert answer.headers["location"] == "/?bff_error=login_expired"
    for _ in range(2):
        answer = await site.come_back(browser, location, error="access_denied")
        assert answer.headers["location"] == "/orders?bff_error=access_denied"


@pytest.mark.requirement("O-10")
async def test_a_transaction_that_took_too_long_is_begun_again(site: Site, browser: Browser) -> None:
    """After its lifetime it opens nothing, even if a browser still sends its cookie."""
    location = await site.login(browser, "/bff/login?return_to=/orders")
    site.clock.ahead = 601
    answer = await site.come_back(browser, location)
    assert answer.status_code == 302
    assert site.provider.codes == []


@pytest.mark.requirement("O-10", "O-11")
async def test_a_sign_in_page_that_was_open_over_night(site: Site, browser: Browser) -> None:
    """Each tab ends at the page that it was on, and what its sign-in asked for is asked for again."""
    login = "/bff/login?return_to=/one&acr_values=gold&step_up=1"
    one, two = await site.login(browser, login), await site.login(browser, "/bff/login?return_to=/two")
    site.clock.ahead = 9 * 3600
    begun_again = [(await site.come_back(browser, each)).headers["location"] for each in (one, two)]
    assert [query(one)["acr_values"], None] == [query(each).get("acr_values") for each in begun_again]
    assert site.provider.codes == []
    landed = [(await site.come_back(browser, each)).headers["location"] for each in begun_again]
    # The stub's tokens are over by then, and so is each sign-in: at its own page all the same.
    assert ["/one?bff_error=step_up_failed", "/two?bff_error=login_failed"] == landed


@pytest.mark.requirement("O-10")
async def test_a_restart_whose_answer_the_browser_did_not_keep_is_the_last(browser: Browser) -> None:
    """A callback's cookie that was refused leaves the restarted transaction as it was: no more of it."""
    again = await browser.get("/bff/callback/finish")
    assert again.status_code == 302
    answer = await browser.get("/bff/callback/finish")
    assert answer.headers["location"] == "/?bff_error=login_expired"


@pytest.mark.requirement("B-30")
async def test_restarts_are_rate_limited_as_logins_are(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """Finish without anything to finish is no way around the limit."""
    async with running_site(redis_server, provider, per_minute=1) as site:
        browser = site.browser()
        browser.blocks_cookies = True
        assert [302, 429] == [(await browser.get("/bff/callback/finish")).status_code for _ in range(2)]


@pytest.mark.requirement("O-10")
async def test_an_answer_that_no_cookie_can_hold_is_begun_again(site: Site, browser: Browser) -> None:
    """Once; what comes back the second time as it was ends at the page."""
    again = await site.come_back(browser, await site.login(browser), iss="x" * 5000)
    assert again.status_code == 302
    answer = await site.come_back(browser, again.headers["location"], iss="x" * 5000)
    assert answer.headers["location"] == "/?bff_error=login_expired"


async def test_the_oldest_transaction_makes_room(site: Site, browser: Browser) -> None:
    """Five tabs: the first is begun anew, the others end where they were to; those done go before all."""
    await site.sign_in(browser, "/bff/login?return_to=/done")
    pages = [f"/{number}" for number in range(5)]
    locations = []
    for page in pages:
        locations.append(await site.login(browser, f"/bff/login?return_to={page}"))
        site.clock.ahead += 1
    assert len(browser.transactions()) == 4
    answers = [await site.come_back(browser, location) for location in reversed(locations[1:])]
    assert ["/4", "/3", "/2", "/1"] == [answer.headers["location"] for answer in answers]


async def test_a_session_that_cannot_be_written_gives_its_tokens_back(
    site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They exist nowhere else, and nobody would ever end them."""

    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(site.sessions, "start", fail)
    answer = await site.sign_in(browser)
    assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
    await until(lambda: site.provider.revoked == ["refresh-of-code-1"])


@pytest.mark.requirement("B-27", "B-24")
async def test_a_sign_in_is_an_audit_event_without_secrets(site: Site, browser: Browser) -> None:
    """Who, from where, which session; and no handle, code or token."""
    with capture_logs() as logs:
        await site.sign_in(browser)
    written = str(logs)
    (event,) = [each for each in logs if each["event"] == "signed_in"]
    assert ("alice", "127.0.0.1", 12) == (event["sub"], event["address"], len(event["session"]))
    for secret in ("access-of", "refresh-of", "code-1", browser.session() or "", "eyJ"):
        assert secret not in written
