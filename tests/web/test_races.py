"""Sign-in and sign-out, and what others do to the same session meanwhile."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from bff.session.store import Write
from tests.support.tasks import background
from tests.support.wait import until
from tests.web.site import Browser, Site

ENDED_MEANWHILE = "/?bff_error=session_ended"


async def end_all(site: Site, by: str) -> None:
    """Everything of alice's, or of her sign-in at the provider, is ended."""
    sid = "provider-session" if by == "sid" else None
    await site.sessions.bulk.end_all("main", sub="alice", sid=sid, reason=EndReason.PROVIDER_LOGOUT)


def around_the_write(site: Site, before: Callable[[], Awaitable[None]] | None, after: Any = None) -> None:
    """Does something right before the new session is written, or right after."""
    start = site.sessions.start

    async def with_others(*arguments: Any, **named: Any) -> Found:
        if before is not None:
            await before()
        started = await start(*arguments, **named)
        if after is not None:
            await after()
        return started

    site.sessions.start = with_others  # type: ignore[method-assign]  # the one place to come between


@pytest.mark.requirement("T-15")
@pytest.mark.parametrize("by", ["sub", "sid"])
@pytest.mark.parametrize("moment", ["at the provider", "before the write", "after the write"])
async def test_an_end_of_all_wins_over_a_sign_in(site: Site, browser: Browser, by: str, moment: str) -> None:
    """Whenever it comes: no cookie, no session, tokens revoked, and the page is told why."""

    async def end() -> None:
        await end_all(site, by)

    location = await site.login(browser)
    if moment == "at the provider":
        await end()
    elif moment == "before the write":
        around_the_write(site, end)
    else:
        around_the_write(site, None, end)
    with capture_logs() as logs:
        answer = await site.come_back(browser, location)
    assert (303, ENDED_MEANWHILE) == (answer.status_code, answer.headers["location"])
    assert browser.session() is None
    assert [] == site.redis.cli("--scan", "--pattern", "bff:session:*").split()
    await until(lambda: site.provider.revoked == ["refresh-of-code-1"])
    assert "ended_meanwhile" in [line.get("reason") for line in logs if line["event"] == "sign_in_failed"]
    assert "signed_in" not in [line["event"] for line in logs]


@pytest.mark.requirement("T-15")
async def test_a_sign_in_after_the_end_is_one(site: Site, browser: Browser) -> None:
    """Begun after it, or with a password that was given after it, or by somebody else."""
    await end_all(site, "sub")
    await site.sign_in(browser)
    assert isinstance(await site.signed_in(browser), Found)

    other = site.browser()
    location = await site.login(other)
    await end_all(site, "sub")
    assert isinstance(await site.signed_in(browser), NoSession)
    site.provider.claims = {"auth_time": int(time.time()) + 60}
    await site.come_back(other, location)
    assert isinstance(await site.signed_in(other), Found)

    bob = site.browser()
    location = await site.login(bob)
    await end_all(site, "sub")
    site.provider.claims = {"sub": "bob", "sid": "bobs"}
    await site.come_back(bob, location)
    assert isinstance(await site.signed_in(bob), Found)


@pytest.mark.requirement("T-15")
async def test_an_old_password_is_no_new_sign_in(site: Site, browser: Browser) -> None:
    """The provider's `auth_time` lies before the end, or just after it by clocks that may differ."""
    for auth_time in (time.time() - 3600, time.time() + 20, True, "now"):
        location = await site.login(browser)
        await end_all(site, "sub")
        site.provider.claims = {"auth_time": auth_time}
        await site.come_back(browser, location)
        assert browser.session() is None


async def signed_in(site: Site, browser: Browser) -> Found:
    await site.sign_in(browser)
    found = await site.signed_in(browser)
    assert isinstance(found, Found)
    return found


async def rotated(site: Site, found: Found, refresh_token: str) -> Found:
    """A rotation saves newer tokens."""
    tokens = replace(found.session.tokens, refresh_token=refresh_token)
    prepared = site.sessions.prepare(found, tokens, claims=None)
    assert Write.REPLACED == await site.sessions.save(prepared)
    return replace(found, session=prepared.session)


@pytest.mark.requirement("T-04", "L-01")
async def test_a_sign_out_revokes_what_a_rotation_has_saved_meanwhile(site: Site, browser: Browser) -> None:
    """While the token that it has read is revoked a newer one is saved: that is revoked as well."""
    found = await signed_in(site, browser)
    site.provider.slow = 0.3
    async with background(browser.post("/bff/logout")) as signing_out:
        await until(lambda: "/revoke" in site.provider.paths)
        await rotated(site, found, "the-newer-one")
        answer = await signing_out
    assert (200, True) == (answer.status_code, answer.json()["provider_revoked"])
    assert ["refresh-of-code-1", "the-newer-one"] == site.provider.revoked
    gone = await site.sessions.open(found.handle)
    assert isinstance(gone, NoSession)
    assert "logout" == gone.reason


@pytest.mark.requirement("T-04", "L-02")
async def test_a_sign_out_comes_to_an_end(site: Site, browser: Browser) -> None:
    """However often somebody rotates in between: in the end the session is deleted, whatever its version."""
    found = await signed_in(site, browser)
    end, names = site.sessions.end, iter("bcdefgh")

    async def end_after_a_rotation(*arguments: Any, **named: Any) -> bool:
        nonlocal found
        found = await rotated(site, found, next(names))
        return await end(*arguments, **named)

    site.sessions.end = end_after_a_rotation  # type: ignore[method-assign]  # the one place to come between
    assert 200 == (await browser.post("/bff/logout")).status_code
    assert ["refresh-of-code-1", "b", "c"] == site.provider.revoked
    assert isinstance(await site.sessions.open(found.handle), NoSession)


@pytest.mark.requirement("P-06", "L-02")
@pytest.mark.parametrize("moment", ["before the write", "after the write", "after the answer"])
async def test_a_sign_out_with_the_former_cookie_ends_what_a_step_up_makes_of_it(
    site: Site, browser: Browser, moment: str
) -> None:
    """While the id changes, and before the browser knows the new one: nothing lives on under it."""
    site.provider.claims = {"acr": "mfa"}
    await site.sign_in(browser)
    tab = replace(browser, cookies=dict(browser.cookies))

    async def sign_out() -> None:
        assert 200 == (await tab.post("/bff/logout")).status_code

    if moment == "before the write":
        around_the_write(site, sign_out)
    elif moment == "after the write":
        around_the_write(site, None, sign_out)
    answer = await site.sign_in(browser, "/bff/login?step_up=1&acr_values=mfa")
    if moment == "after the answer":
        assert isinstance(await site.signed_in(browser), Found)
        await sign_out()
        assert "logout" == await site.reason_of(browser.session() or "")
    else:
        assert ENDED_MEANWHILE == answer.headers["location"]
        await until(lambda: site.provider.revoked == ["refresh-of-code-1"])
    assert [] == site.redis.cli("--scan", "--pattern", "bff:session:*").split()


@pytest.mark.requirement("P-06", "L-02")
async def test_a_sign_out_that_a_step_up_overtakes(site: Site, browser: Browser) -> None:
    """It has read the session, and revokes its tokens, when the step-up ends that: the new one ends, too."""
    site.provider.claims = {"acr": "mfa"}
    await site.sign_in(browser)
    tab = replace(browser, cookies=dict(browser.cookies))
    site.provider.revocation_held = True
    async with background(tab.post("/bff/logout")) as signing_out:
        await until(lambda: "/revoke" in site.provider.paths)
        await site.sign_in(browser, "/bff/login?step_up=1&acr_values=mfa")
        await site.sign_in(browser, "/bff/login?step_up=1&acr_values=mfa")
        assert tab.session() != browser.session()
        site.provider.revocation_held = False
        assert 200 == (await signing_out).status_code
    assert isinstance(await site.signed_in(browser), NoSession)
    assert [] == site.redis.cli("--scan", "--pattern", "bff:session:*").split()


@pytest.mark.requirement("P-06")
async def test_a_step_up_that_somebody_else_comes_back_from(site: Site, browser: Browser) -> None:
    """Bob gets a session of his own, with its own life; no sign-out with alice's former cookie ends it."""
    site.provider.claims = {"acr": "mfa"}
    await site.sign_in(browser)
    tab, alices = replace(browser, cookies=dict(browser.cookies)), await site.signed_in(browser)
    site.clock.ahead += 10  # within the skew of clocks
    site.provider.claims = {"sub": "bob", "acr": "mfa", "sid": "bobs-session"}
    await site.sign_in(browser, "/bff/login?step_up=1&acr_values=mfa")
    bobs = await site.signed_in(browser)
    assert isinstance(alices, Found)
    assert isinstance(bobs, Found)
    assert ("bob", True) == (bobs.session.sub, bobs.session.created >= alices.session.created + 10)
    assert "signed_in_again" == await site.reason_of(alices.handle)
    assert 200 == (await tab.post("/bff/logout")).status_code
    assert isinstance(await site.signed_in(browser), Found)


async def test_a_sign_out_with_a_former_cookie_leaves_another_sign_in_alone(
    site: Site, browser: Browser
) -> None:
    """A sign-in that is no step-up is a new session: who makes it is in."""
    await site.sign_in(browser)
    tab = replace(browser, cookies=dict(browser.cookies))
    await site.sign_in(browser)
    assert 200 == (await tab.post("/bff/logout")).status_code
    assert isinstance(await site.signed_in(browser), Found)


@pytest.mark.requirement("L-02")
async def test_a_session_that_is_deleted_meanwhile_is_signed_out(site: Site, browser: Browser) -> None:
    """An operator was faster: 200 all the same, and nothing is revoked twice."""
    found = await signed_in(site, browser)
    site.provider.slow = 0.3
    async with background(browser.post("/bff/logout")) as signing_out:
        await until(lambda: "/revoke" in site.provider.paths)
        site.redis.cli("DEL", f"bff:session:{found.session.key}")
        assert 200 == (await signing_out).status_code
    assert ["refresh-of-code-1"] == site.provider.revoked
    assert browser.session() is None
