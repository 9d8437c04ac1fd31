"""Signing in, by people and by pages that trick them into it."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.demo import Demo
from tests.browser.foreign import ForeignSite
from tests.browser.visit import (
    ALICE,
    addresses,
    fill_in,
    session_id,
    sign_in,
    signed_in,
    signed_out,
    to_provider,
)

SECRETS_IN_ADDRESS = re.compile(r"[?&#](code|id_token|access_token)=")


@pytest.mark.requirement("B-03", "B-04", "B-05", "B-06")
def test_a_sign_in_leaves_one_strict_cookie(context: BrowserContext, page: Page, demo: Demo) -> None:
    """The page after the callback page has the session's cookie at once; no cookie of ours is for scripts."""
    sign_in(page, demo.url)
    ours = [cookie for cookie in context.cookies(demo.url) if cookie["name"].startswith("bff")]
    (session,) = (cookie for cookie in ours if cookie["name"] == "bff")
    assert ("Strict", "/") == (session["sameSite"], session["path"])
    assert urlsplit(demo.url).hostname == session["domain"]  # without a leading dot: no Domain attribute
    assert all(cookie["httpOnly"] for cookie in ours)


@pytest.mark.requirement("O-16", "O-07")
def test_the_code_is_nowhere_when_the_page_loads(page: Page, demo: Demo) -> None:
    """Neither address, nor history, nor referrer holds what the provider sent."""
    sign_in(page, demo.url)
    assert demo.url + "/" == page.url
    seen = [page.url, *addresses(page), page.evaluate("document.referrer")]
    assert [] == [address for address in seen if SECRETS_IN_ADDRESS.search(address)]
    went = page.evaluate("performance.getEntries().map((entry) => entry.name).join(' ')")
    assert "code=" not in went


@pytest.mark.requirement("O-16", "O-10")
def test_going_back_after_sign_in_ends_at_the_page(back_button: Page, demo: Demo) -> None:
    """The history holds no callback; the provider, come back to, sends a stale one, which is no dead end."""
    page = back_button
    sign_in(page, demo.url)
    known = session_id(page)
    assert [] == [address for address in addresses(page) if "/bff/callback" in address]
    page.go_back(wait_until="commit")
    page.wait_for_url(demo.url + "/")
    signed_in(page)
    assert known == session_id(page)


def test_sign_in_by_keyboard_alone(page: Page, demo: Demo) -> None:
    """Tab, Enter and typing are enough, and what has the focus is seen to have it."""
    page.goto(demo.url)
    signed_out(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Sign in")
    expect(button).to_be_focused()
    outline = button.evaluate("(element) => getComputedStyle(element).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_label("Email address")).to_be_focused()
    page.keyboard.type(ALICE[0])
    page.keyboard.press("Tab")
    page.keyboard.type(ALICE[1])
    page.keyboard.press("Enter")
    signed_in(page)


@pytest.mark.requirement("O-11", "B-19")
def test_two_tabs_sign_in_at_once(context: BrowserContext, demo: Demo) -> None:
    """Both sign-ins work; the second takes the first one's place, and both tabs go on with it."""
    first, second = context.new_page(), context.new_page()
    for tab in (first, second):
        tab.goto(demo.url)
        signed_out(tab)
        to_provider(tab)
    fill_in(first)
    signed_in(first)
    former = session_id(first)
    fill_in(second)
    signed_in(second)
    assert former != session_id(second)
    expect(first.locator("#session-id")).to_have_text(session_id(second), timeout=60_000)
    assert [] == demo.sessions(former)


@pytest.mark.requirement("B-19", "O-16")
def test_a_sign_in_begun_by_a_foreign_page_ends_the_former_session(
    context: BrowserContext, page: Page, demo: Demo, foreign: ForeignSite
) -> None:
    """By the callback page the Strict cookie arrives: without it the former session would live on unseen."""
    sign_in(page, demo.url)
    former = session_id(page)
    (kept,) = (cookie for cookie in context.cookies(demo.url) if cookie["name"] == "bff")
    foreign.pages["/"] = f'<!doctype html><a href="{demo.url}/bff/login?return_to=/">A nice picture</a>'
    page.goto(foreign.at(demo.foreign_host))
    page.get_by_role("link").click()
    page.wait_for_url(lambda url: not url.startswith(foreign.at(demo.foreign_host)))
    signed_in(page)
    assert former != session_id(page)
    assert [] == demo.sessions(former)
    answer = context.request.get(
        f"{demo.url}/bff/user", headers={"X-CSRF": "1", "Cookie": f"bff={kept.get('value')}"}
    )
    assert (401, "session_ended", "signed_in_again") == (
        answer.status,
        answer.json()["code"],
        answer.json()["reason"],
    )


@pytest.mark.requirement("O-12")
def test_a_refused_sign_in_is_said_and_leaves_the_address(page: Page, demo: Demo) -> None:
    """The provider's error reaches the page as words; the address is clean again."""
    page.goto(f"{demo.url}/bff/login?return_to=/&prompt=none")
    expect(page.get_by_role("alert")).to_contain_text("login_required")
    signed_out(page)
    assert demo.url + "/" == page.url
