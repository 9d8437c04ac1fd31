"""The client module: what a page gets from it, and when it leaves for sign-in."""

import json
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.demo import Demo
from tests.browser.foreign import ForeignSite
from tests.browser.visit import BOB, fill_in, sign_in, signed_in, signed_out

_MODULE = "const client = await import('/bff/client.js');"
_CALLS = f"""async ([path, options, times]) => {{
  {_MODULE}
  const one = () => client.bffFetch(path, options).then(
    (response) => ["answered", response.status],
    (error) => [error instanceof client.BffError ? error.code : String(error), error.status]);
  return await Promise.all(Array.from({{ length: times }}, one));
}}"""


@pytest.mark.requirement("B-28", "O-04")
def test_a_call_without_a_session_leaves_for_sign_in_once_and_comes_back(page: Page, demo: Demo) -> None:
    """Ten calls at once make one sign-in, which ends where the page was, query and fragment included."""
    place = f"{demo.url}/some/place?x=1&y=a\\b#part"
    page.goto(place)
    signed_out(page)
    sign_ins: list[str] = []
    page.on("request", lambda sent: sign_ins.append(sent.url) if "/bff/login" in sent.url else None)
    _call_and_leave(page, times=10)
    expect(page.get_by_label("Password")).to_be_visible()
    assert len(sign_ins) == 1
    fill_in(page)
    signed_in(page)
    assert place.replace("\\", "%5C") == page.url


def test_after_a_refused_sign_in_a_call_does_not_leave_again(page: Page, demo: Demo) -> None:
    """With `bff_error` in the address a call rejects and the page stays: no circle."""
    page.goto(f"{demo.url}/bff/login?return_to=/&prompt=none")
    signed_out(page)
    page.evaluate("history.replaceState(null, '', '/?bff_error=login_required')")
    assert [["session_missing", 401]] == _call(page)
    assert demo.url + "/?bff_error=login_required" == page.url


def test_a_page_can_keep_the_401_to_itself(page: Page, demo: Demo) -> None:
    """`signIn: false` hands the answer back, and `user()` answers null."""
    page.goto(demo.url)
    signed_out(page)
    assert [["answered", 401]] == _call(page, {"signIn": False})
    assert page.evaluate(f"async () => {{ {_MODULE} return await client.user(); }}") is None
    assert demo.url + "/" == page.url


def test_a_backends_own_401_is_not_taken_for_a_sign_out(page: Page, demo: Demo) -> None:
    """Marked with `BFF-Upstream`, even a problem document that says `session_ended` is just an answer."""
    sign_in(page, demo.url)
    page.route("**/api/wrong-password", _answer(401, "session_ended", {"BFF-Upstream": "1"}))
    assert [["answered", 401]] == _call(page, path="/api/wrong-password")
    signed_in(page)


@pytest.mark.requirement("P-06")
def test_a_call_that_needs_a_stronger_sign_in_leaves_for_it(page: Page, demo: Demo) -> None:
    """To the address of the problem, with the way back; the session goes on, and the page is where it was."""
    sign_in(page, demo.url)
    place = f"{demo.url}/some/place"
    page.goto(place)
    asked = "/bff/login?step_up=1&max_age=600"
    page.route("**/api/pay", _answer(401, "step_up_required", login_url=asked))
    assert [["answered", 401]] == _call(page, {"signIn": False}, path="/api/pay")
    with page.expect_request(lambda sent: "/bff/login" in sent.url) as leaving:
        _call_and_leave(page, times=3, path="/api/pay")
    assert "step_up=1&max_age=600&return_to=%2Fsome%2Fplace" in leaving.value.url
    page.wait_for_url(place)
    signed_in(page)
    page.evaluate("history.replaceState(null, '', '/?bff_error=step_up_failed')")
    assert [["step_up_required", 401]] == _call(page, path="/api/pay")


@pytest.mark.requirement("P-12")
def test_a_call_waits_for_the_devices_proof(page: Page, demo: Demo) -> None:
    """The browser renews it beside the page: the call is asked again, and nobody leaves for sign-in."""
    sign_in(page, demo.url)
    refused = _answer(401, "binding_required", reason="not_proved")
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        refused(route) if len(asked) < 3 else route.fulfill(status=200)

    page.route("**/api/slow-device", answer)
    assert [["answered", 200]] == _call(page, path="/api/slow-device")
    assert 3 == len(asked)
    signed_in(page)


@pytest.mark.requirement("B-10")
def test_the_csrf_header_goes_to_this_origin_only(page: Page, demo: Demo, foreign: ForeignSite) -> None:
    """A call to another origin carries nothing of ours, so that it needs no preflight."""
    page.goto(f"{demo.url}/bff/client.js")  # a document of this origin, without the page and its policy
    seen: dict[str, str | None] = {}

    def note(route: Route) -> None:
        seen[route.request.url] = route.request.headers.get("x-csrf")
        route.fulfill(status=204)

    page.route("**/note", note)
    for url in (f"{demo.url}/note", foreign.at(demo.foreign_host, "/note")):
        page.evaluate(_CALLS, [url, {"mode": "no-cors"} if url != f"{demo.url}/note" else {}, 1])
    assert {f"{demo.url}/note": "1", foreign.at(demo.foreign_host, "/note"): None} == seen


def test_another_origins_401_is_no_sign_out(page: Page, demo: Demo, foreign: ForeignSite) -> None:
    """Whatever code it has in it, the page stays, and nobody is told of an end."""
    page.goto(f"{demo.url}/bff/client.js")
    allowed = {"Access-Control-Allow-Origin": "*"}
    page.route("**/elsewhere", _answer(401, "session_ended", allowed))
    assert [["answered", 401]] == _call(page, path=foreign.at(demo.foreign_host, "/elsewhere"))
    assert f"{demo.url}/bff/client.js" == page.url


def test_a_page_that_is_not_behind_the_proxy_is_told_so(page: Page, demo: Demo) -> None:
    """A development server answers every path with its page: the error says where to look."""
    page.goto(f"{demo.url}/bff/client.js")
    page.route("**/bff/user?*", lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"))
    said = page.evaluate(f"async () => {{ {_MODULE} return await client.user().catch(String); }}")
    assert "is this page open at its public_url?" in said


@pytest.mark.requirement("T-10")
def test_an_unreachable_store_is_said_and_signs_nobody_out(page: Page, demo: Demo) -> None:
    """503 is shown for what it is; when the store is back the page goes on as if nothing had been."""
    sign_in(page, demo.url)
    page.route("**/bff/user?*", _answer(503, "store_unavailable", {"Retry-After": "1"}))
    expect(page.get_by_role("alert")).to_contain_text("Your session is untouched")
    signed_in(page)
    page.unroute("**/bff/user?*")
    expect(page.get_by_role("alert")).to_be_hidden()
    signed_in(page)


@pytest.mark.requirement("B-19")
def test_another_person_who_signs_in_in_another_tab_is_noticed(context: BrowserContext, demo: Demo) -> None:
    """A page does not go on showing Alice's account while its calls are made as Bob."""
    alice, bob = context.new_page(), context.new_page()
    sign_in(alice, demo.url)
    bob.goto(f"{demo.url}/bff/login?return_to=/&prompt=login")
    fill_in(bob, BOB)
    signed_in(bob)
    alice.bring_to_front()
    expect(alice.locator("#ended-reason")).to_contain_text("A new sign-in in this browser")
    assert "Alice" not in alice.locator("body").inner_html()


@pytest.mark.requirement("B-19")
def test_a_call_that_meets_a_new_sign_in_is_made_once_more(page: Page, demo: Demo) -> None:
    """The former session's 401 comes before the new cookie is here: no way of calling leads to sign-in."""
    sign_in(page, demo.url)
    page.goto(f"{demo.url}/bff/client.js")
    asked = [json.dumps({"signed_in": False, "code": "session_ended", "reason": "signed_in_again"})]
    page.route(
        "**/bff/user?anonymous=ok&slide=false",
        lambda route: (
            route.fulfill(content_type="application/json", body=asked.pop()) if asked else route.continue_()
        ),
    )
    bodies: list[str | None] = []

    def late(route: Route) -> None:
        bodies.append(route.request.post_data)
        if len(bodies) > 1:
            route.fulfill(status=200)
        else:
            _answer(401, "session_ended", reason="signed_in_again")(route)

    page.route("**/api/late", late)
    assert [["answered", 200]] == _call(page, {"method": "POST", "body": "an order"}, path="/api/late")
    assert (["an order"] * 2, []) == (bodies, asked)
    page.unroute("**/api/late", late)
    page.route("**/api/late", _answer(401, "session_ended", reason="signed_in_again"))
    said = page.evaluate(f"""async () => {{
      {_MODULE}
      const told = (error) => [error.code, error.signedOut];
      const request = new Request("/api/late", {{ method: "POST", body: "read as it is sent" }});
      const used = await client.bffFetch(request).catch(told);
      const given = await fetch("/api/late").then(client.checkSession).catch(told);
      const kept = await client.bffFetch("/api/late", {{ signIn: false }});
      return [used, given, kept.status];
    }}""")
    assert [["session_ended", True], ["session_ended", True], 401] == said
    assert f"{demo.url}/bff/client.js" == page.url


def _call(
    page: Page, options: dict[str, Any] | None = None, *, path: str = "/api/orders", times: int = 1
) -> list[list[str | int]]:
    """The outcome of `bffFetch`, so many times at once."""
    outcome: list[list[str | int]] = page.evaluate(_CALLS, [path, options or {}, times])
    return outcome


def _call_and_leave(page: Page, *, times: int, path: str = "/api/orders") -> None:
    """The same without waiting: the document will be gone before it can answer."""
    page.evaluate(f"(given) => {{ ({_CALLS})(given); }}", [path, {}, times])


def _answer(status: int, code: str, headers: dict[str, str] | None = None, **more: str) -> Any:
    problem = {"type": "about:blank", "title": "A test", "status": status, "code": code, **more}
    headers = (headers or {}) | {"Content-Type": "application/problem+json"}
    return lambda route: route.fulfill(status=status, headers=headers, body=json.dumps(problem))
