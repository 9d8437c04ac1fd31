"""The issuer's sign-in page in a browser: without scripts, on a small screen, with an error."""

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from tests.browser.demo import Demo
from tests.browser.visit import ALICE, fill_in


@pytest.mark.requirement("J-11")
def test_the_page_works_without_scripts_on_a_small_screen(browser: Browser, demo: Demo) -> None:
    """Sign-in goes all the way without JavaScript; an error is told, and the password is asked for next."""
    small: ViewportSize = {"width": 320, "height": 568}
    context = browser.new_context(base_url=demo.url, java_script_enabled=False, viewport=small)
    try:
        page = context.new_page()
        page.goto("/bff/login?return_to=/")
        expect(page.get_by_label("Email address")).to_be_focused()
        fill_in(page, (ALICE[0], "not hers"))
        expect(page.get_by_role("alert")).to_have_text("This email address and password do not match.")
        expect(page).to_have_title("Error: Sign in")
        expect(page.get_by_label("Email address")).to_have_value(ALICE[0])
        expect(page.get_by_label("Password")).to_be_focused()
        expect(page.get_by_label("Password")).to_have_accessible_description(
            "This email address and password do not match."
        )
        card = page.locator("main").bounding_box()
        assert card is not None
        assert (0 <= card["x"], card["x"] + card["width"] <= small["width"]) == (True, True)
        fill_in(page)
        page.wait_for_url(f"{demo.url}/", timeout=60_000)
        assert "bff" in [cookie["name"] for cookie in context.cookies(demo.url)]
    finally:
        context.close()
