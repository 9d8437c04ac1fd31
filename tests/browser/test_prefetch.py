"""What Chromium fetches ahead does nothing; the click that follows does."""

import pytest
from playwright.sync_api import BrowserContext, Page, Response, expect

from tests.browser.demo import Demo
from tests.browser.visit import session_id, sign_in, signed_out

_LINK = """(url) => new Promise((settled) => {
  const link = document.createElement("link");
  link.rel = "prefetch";
  link.href = url;
  link.onload = () => settled("load");
  link.onerror = () => settled("error");
  document.head.append(link);
})"""
_ANCHOR = """(url) => {
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.id = "out";
  anchor.textContent = "Sign out by a link";
  document.body.prepend(anchor);
}"""
_LOGOUT_URL = (
    """async () => (await (await fetch("/bff/user", { headers: { "X-CSRF": "1" } })).json()).logout_url"""
)


def prefetched(page: Page, url: str) -> Response:
    """The answer to a `<link rel=prefetch>`, and that Chromium said so."""
    with page.expect_response(lambda answer: url in answer.url) as answered:
        page.evaluate(_LINK, url)
    response = answered.value
    assert "prefetch" in response.request.all_headers().get("sec-purpose", "")
    return response


@pytest.mark.requirement("B-37", "L-03")
def test_a_prefetch_signs_nobody_out_and_a_click_does(page: Page, demo: Demo) -> None:
    """The prefetch of the logout link carries the session's cookie, and gets 503; the link then works."""
    sign_in(page, demo.url)
    (key,) = demo.sessions(session_id(page))
    url = page.evaluate(_LOGOUT_URL)
    answer = prefetched(page, url)
    assert (503, "no-store") == (answer.status, answer.headers["cache-control"])
    assert "bff=" in answer.request.all_headers()["cookie"]
    assert [key] == demo.sessions(key.removeprefix("bff:session:"))
    page.evaluate(_ANCHOR, url)
    page.locator("#out").click()
    page.wait_for_url(lambda found: found.startswith(demo.url))
    signed_out(page)
    assert [] == demo.sessions(key.removeprefix("bff:session:"))


@pytest.mark.requirement("B-37")
def test_a_prefetched_login_begins_nothing(context: BrowserContext, page: Page, demo: Demo) -> None:
    """No transaction's cookie is set; the click then leads to the provider's form."""
    page.goto(demo.url)
    signed_out(page)
    assert 503 == prefetched(page, "/bff/login?return_to=/").status
    assert [] == [cookie for cookie in context.cookies(demo.url) if "-tx-" in cookie["name"]]
    page.evaluate(_ANCHOR, "/bff/login?return_to=/")
    page.locator("#out").click()
    expect(page.get_by_label("Password")).to_be_visible(timeout=60_000)
