"""Pages of other origins, with the user's browser in their hands."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.demo import Demo
from tests.browser.foreign import ForeignSite
from tests.browser.visit import session_id, sign_in, signed_in

ATTEMPTS: dict[str, dict[str, Any]] = {
    "reads with the cookie": {"path": "/api/orders", "mode": "no-cors", "credentials": "include"},
    "reads as CORS": {"path": "/api/orders", "mode": "cors", "credentials": "include"},
    "sends the header": {
        "path": "/api/orders",
        "mode": "cors",
        "credentials": "include",
        "headers": {"X-CSRF": "1"},
    },
    "writes as a simple request": {
        "path": "/api/orders",
        "method": "POST",
        "mode": "no-cors",
        "credentials": "include",
        "headers": {"Content-Type": "text/plain"},
        "body": '{"item": "planted", "quantity": 1}',
    },
    "writes as JSON": {
        "path": "/api/orders",
        "method": "POST",
        "mode": "cors",
        "credentials": "include",
        "headers": {"Content-Type": "application/json", "X-CSRF": "1"},
        "body": '{"item": "planted", "quantity": 1}',
    },
    "signs out": {"path": "/bff/logout", "method": "POST", "mode": "no-cors", "credentials": "include"},
    "asks who it is": {"path": "/bff/user", "mode": "cors", "credentials": "include"},
}
_FETCH = """async ([url, init]) => {
  try { const got = await fetch(url, init); return [got.type, got.status, await got.text()]; }
  catch (error) { return ["refused", 0, ""]; }
}"""


@pytest.mark.requirement("B-09", "B-10", "B-11", "L-03")
@pytest.mark.parametrize("sibling", [True, False], ids=["same-site", "cross-site"])
def test_a_foreign_page_can_do_nothing_with_the_session(
    page: Page, demo: Demo, foreign: ForeignSite, *, sibling: bool
) -> None:
    """Whatever it fetches or posts is refused or unreadable; no call reaches the API; the session lives on.

    A page on another port of the same host is same-site: there the Strict cookie comes along, and only the
    proxy's own checks stand in between.
    """
    sign_in(page, demo.url)
    known, calls = session_id(page), demo.forwarded()
    assert calls > 0
    stranger = page.context.new_page()
    page.close()  # it looks at the session every two seconds
    statuses: dict[str, list[int]] = {}
    stranger.goto(foreign.at(demo.own_host if sibling else demo.foreign_host))
    stranger.on(
        "response",
        lambda got: (
            statuses.setdefault(got.request.method, []).append(got.status)
            if got.url.startswith(demo.url)
            else None
        ),
    )
    got = {name: _attempt(stranger, demo, init) for name, init in ATTEMPTS.items()}
    assert [] == [name for name, (kind, _, text) in got.items() if kind not in {"opaque", "refused"} or text]
    assert {403} == set(statuses["GET"]) | set(statuses["POST"])
    assert calls == demo.forwarded()
    stranger.goto(demo.url)
    signed_in(stranger)
    assert known == session_id(stranger)
    assert "planted" not in stranger.locator("#orders").inner_text()


@pytest.mark.requirement("B-09", "L-03")
def test_a_foreign_form_posts_in_vain(page: Page, demo: Demo, foreign: ForeignSite) -> None:
    """A form needs no CORS: it is refused by the headers that it cannot set."""
    sign_in(page, demo.url)
    foreign.pages["/"] = (
        f'<!doctype html><form method="post" enctype="text/plain" action="{demo.url}/api/orders">'
        """<input name='{"item": "planted", "quantity": 1, "x": "' value='"}'><button>Win</button></form>"""
    )
    page.goto(foreign.at(demo.own_host))
    with page.expect_navigation() as navigation:
        page.get_by_role("button").click()
    answer = navigation.value
    assert answer is not None
    assert 403 == answer.status
    assert "csrf_rejected" in answer.text()  # a page, since a person navigated


def _attempt(page: Page, demo: Demo, attempt: dict[str, Any]) -> tuple[str, int, str]:
    init = {name: value for name, value in attempt.items() if name != "path"}
    kind, status, text = page.evaluate(_FETCH, [demo.url + attempt["path"], init])
    return kind, status, text
