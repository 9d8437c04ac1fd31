"""What a person sees when an address does not work."""

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.browser.demo import Demo


@pytest.mark.requirement("B-38")
def test_a_person_gets_a_page_and_a_script_a_document(page: Page, demo: Demo) -> None:
    """A readable page, its style let through by its own policy; `fetch` of the same address gets JSON."""
    said: list[ConsoleMessage] = []
    page.on("console", lambda message: said.append(message))  # noqa: PLW0108 - Playwright takes no bound method
    answer = page.goto(f"{demo.url}/bff/login?return_to=//evil.example")
    assert answer is not None
    assert 400 == answer.status
    expect(page.get_by_role("heading", name="return_to is not a path on this site")).to_be_visible()
    assert "36rem" not in page.locator("body").inner_text()
    assert "0px" != page.evaluate("getComputedStyle(document.body).marginTop")
    assert [] == [each.text for each in said if "Content Security Policy" in each.text]
    page.get_by_role("link", name="start page").click()
    page.wait_for_url(f"{demo.url}/")
    kind = page.evaluate("""async () => (await fetch("/bff/nothing")).headers.get("content-type")""")
    assert "application/problem+json" == kind
