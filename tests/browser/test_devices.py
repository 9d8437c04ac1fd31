"""The sample page's "Your devices": what a user sees of their sessions, and how they end them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from tests.browser.demo import Demo
from tests.browser.visit import BOB, session_id, sign_in, signed_in, signed_out

PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
SMALL: ViewportSize = {"width": 320, "height": 640}
TOLD_WITHIN = 60_000  # milliseconds


@pytest.fixture(name="phone")
def _phone(browser: Browser, demo: Demo) -> Iterator[BrowserContext]:
    """Another browser, on a small screen."""
    context = browser.new_context(base_url=demo.url, user_agent=PHONE, viewport=SMALL)
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture(name="alone", autouse=True)
def _alone(demo: Demo) -> None:
    """Nobody is signed in from an earlier test."""
    for key in demo.sessions(""):
        demo.delete(key)


@pytest.mark.requirement("S-04", "B-23")
def test_a_lost_phone(page: Page, phone: BrowserContext, demo: Demo) -> None:
    """It is seen by what it is, and one button ends it: the phone's page says why, this one goes on."""
    lost = phone.new_page()
    sign_in(lost, demo.url)
    sign_in(page, demo.url)
    rows = page.get_by_role("region", name="Your devices").get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("This browser")
    expect(rows.nth(1)).to_contain_text("Safari 17 on iPhone")
    expect(rows.nth(1)).to_contain_text("from 127.0.0.1")
    rows.nth(1).get_by_role("button", name="End the session of Safari 17 on iPhone").click()
    expect(rows).to_have_count(1)
    expect(page.locator("#devices-title")).to_be_focused()
    expect(page.locator("#said")).to_have_text("The session of Safari 17 on iPhone has ended.")
    signed_in(page)
    lost.bring_to_front()
    expect(lost.get_by_role("heading", name="Your session has ended")).to_be_visible(timeout=TOLD_WITHIN)
    expect(lost.locator("#ended-reason")).to_contain_text("from another device")
    assert "Alice" not in lost.locator("body").inner_html()


@pytest.mark.requirement("S-04", "B-23")
def test_all_others_at_once(browser: Browser, page: Page, phone: BrowserContext, demo: Demo) -> None:
    """This one stays, and somebody else's too; then there are no others to end."""
    sign_in(phone.new_page(), demo.url)
    stranger = browser.new_context(base_url=demo.url)
    other = stranger.new_page()
    sign_in(other, demo.url, BOB)
    sign_in(page, demo.url)
    page.get_by_role("button", name="End all others").click()
    expect(page.locator("#devices li")).to_have_count(1)
    expect(page.get_by_role("button", name="End all others")).to_be_disabled()
    expect(page.locator("#said")).to_have_text("All other sessions have ended: 1.")
    kept = {key.rpartition(":")[2][:12] for key in demo.sessions("")}
    assert {session_id(page), session_id(other)} == kept
    stranger.close()


def test_a_session_that_ended_meanwhile(page: Page, phone: BrowserContext, demo: Demo) -> None:
    """The list was old: the page says so, and shows what there is."""
    lost = phone.new_page()
    sign_in(lost, demo.url)
    gone = session_id(lost)
    sign_in(page, demo.url)
    expect(page.locator("#devices li")).to_have_count(2)
    (key,) = demo.sessions(gone)
    demo.delete(key)
    page.get_by_role("button", name="End the session of Safari 17").click()
    expect(page.get_by_role("alert")).to_contain_text("it may have ended meanwhile")
    expect(page.locator("#devices li")).to_have_count(1)


def test_this_browsers_own_button_signs_out(page: Page, demo: Demo) -> None:
    """As the one at the top does."""
    sign_in(page, demo.url)
    page.get_by_role("button", name="End the session of this browser").click()
    signed_out(page)
    assert [] == demo.sessions("")


def test_the_client_signs_out_by_this_browsers_own_id(page: Page, demo: Demo) -> None:
    """`endSession` of one's own leaves for the provider's sign-out, and the page is signed out after."""
    sign_in(page, demo.url)
    page.evaluate(
        """async () => {
          const client = await import("/bff/client.js");
          const [own] = await client.sessions({ slide: false });
          await client.endSession(own.id);
        }"""
    )
    signed_out(page)
    assert [] == demo.sessions("")


def test_it_fits_a_small_screen(phone: BrowserContext, page: Page, demo: Demo) -> None:
    """At 320 px nothing is cut off, and each button can be hit; by keyboard it is reached and pressed."""
    sign_in(page, demo.url)
    small = phone.new_page()
    sign_in(small, demo.url)
    rows = small.locator("#devices li")
    expect(rows).to_have_count(2)
    assert 320 == small.evaluate("document.documentElement.scrollWidth")
    for button in (*rows.get_by_role("button").all(), small.get_by_role("button", name="End all others")):
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 24  # WCAG 2.2, 2.5.8
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 320
    small.get_by_role("button", name="End all others").focus()
    small.keyboard.press("Tab")
    small.keyboard.press("Tab")
    small.keyboard.press("Enter")
    expect(rows).to_have_count(1)
