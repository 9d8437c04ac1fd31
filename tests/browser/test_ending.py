"""The end of a session, wherever it comes from, and what is left on the page."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.demo import Demo
from tests.browser.visit import session_id, sign_in, signed_in, signed_out

_TELL_WHAT_IS_SHOWN = """addEventListener("pageshow", (event) =>
  console.log(`shown${event.persisted ? " again" : ""}|${document.documentElement.innerHTML}`))"""
NOTICED_WITHIN = 60_000  # milliseconds


@pytest.mark.requirement("B-22")
def test_a_session_deleted_in_redis_is_noticed(page: Page, demo: Demo) -> None:
    """`redis-cli DEL` ends it: the page says so within seconds, and clears what it showed."""
    sign_in(page, demo.url)
    (key,) = demo.sessions(session_id(page))
    assert demo.delete(key) == 1
    expect(page.get_by_role("heading", name="Your session has ended")).to_be_visible(timeout=NOTICED_WITHIN)
    expect(page.locator("#ended-reason")).to_contain_text("removed from the session store")
    expect(page.locator("#ended-title")).to_be_focused()
    assert "Alice" not in page.locator("body").inner_html()
    page.get_by_role("button", name="Sign in again").click()
    signed_in(page)


def test_a_sign_out_in_another_tab_is_noticed(context: BrowserContext, demo: Demo) -> None:
    """The other tab says that it is over, and does not go on showing the account."""
    first, second = context.new_page(), context.new_page()
    sign_in(first, demo.url)
    second.goto(demo.url)
    signed_in(second)
    second.get_by_role("button", name="Sign out").click()
    signed_out(second)
    first.bring_to_front()
    expect(first.get_by_role("heading", name="Your session has ended")).to_be_visible(timeout=NOTICED_WITHIN)
    assert "Alice" not in first.locator("body").inner_html()


@pytest.mark.requirement("B-26", "L-01")
def test_going_back_after_sign_out_shows_nothing_of_the_account(back_button: Page, demo: Demo) -> None:
    """Neither the history nor the browser's cache of pages brings it back; what the page keeps stays."""
    page = back_button
    page.add_init_script(_TELL_WHAT_IS_SHOWN)
    sign_in(page, demo.url)
    page.evaluate("localStorage.theme = 'dark'")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    former = session_id(page)
    page.get_by_role("button", name="Sign out").click()
    signed_out(page)
    assert [] == demo.sessions(former)
    page.wait_for_load_state("load")
    assert "dark" == page.evaluate("localStorage.theme")
    assert [text for text in said if text.endswith('Cleared data types: "cache".')]
    with page.expect_console_message(lambda said: said.text.startswith("shown again")) as shown:
        page.evaluate("setTimeout(() => history.back())")
    assert "Alice" not in shown.value.text
    assert former not in shown.value.text
    signed_out(page)


def test_a_sign_out_ends_the_session_at_the_provider_too(page: Page, demo: Demo) -> None:
    """The next sign-in asks for the password again."""
    sign_in(page, demo.url)
    page.get_by_role("button", name="Sign out").click()
    signed_out(page)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Password")).to_be_visible()
