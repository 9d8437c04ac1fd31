"""Pages that bundlers made with `@bff/client`: React by Vite, Vue by webpack, the rest by esbuild.

They are the demo's page, a folder for each. Angular's is compiled by ngc, its libraries in the browser, as
are Vue's templates: a page's policy forbids that, and is off here. The tutorial's page has it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.demo import Demo, running_demo
from tests.browser.visit import BOB, fill_in
from tests.npm.workshop import run, workshop

_PATIENCE = 60_000  # milliseconds
# What the endpoints answer, as they answer it, to be compiled against the types.
_ASK = """async () => {
  const ask = async (path) => (await fetch(path, { headers: { "X-CSRF": "1" } })).json();
  return { user: await ask("/bff/user"), sessions: (await ask("/bff/sessions")).sessions };
}"""
_ANSWERS = """import type {{ OwnSession, User }} from "@bff/client";
export const user: User = {user};
export const sessions: OwnSession[] = {sessions};
"""


@pytest.fixture(scope="module", name="site")
def _site(browser: Browser) -> Iterator[Path]:  # noqa: ARG001 - without a browser nothing is built
    with workshop() as folder:
        run(folder, "node", "build.mjs")
        yield folder


@pytest.fixture(scope="module", name="demo")
def _demo(site: Path) -> Iterator[Demo]:
    with running_demo(page=site / "built") as demo:
        yield demo


@pytest.fixture(name="page")
def _page(browser: Browser, demo: Demo) -> Iterator[Page]:
    context = browser.new_context(base_url=demo.url, bypass_csp=True)
    context.set_default_timeout(_PATIENCE)
    yield context.new_page()
    context.close()


def enter(page: Page, demo: Demo, name: str) -> None:
    """From the page's own button through the provider's form, and back to it."""
    page.goto(f"{demo.url}/{name}/index.html?x=1")
    expect(page.locator("main[data-status=signed-out] #end")).to_have_text("never", timeout=_PATIENCE)
    page.get_by_role("button", name="Enter").click()
    fill_in(page)
    expect(page.locator("main[data-status=signed-in] h1")).to_have_text("Alice Liddell", timeout=_PATIENCE)
    expect(page.locator("#orders")).to_have_text(re.compile(r"[1-9]"), timeout=_PATIENCE)
    assert f"{demo.url}/{name}/index.html?x=1" == page.url


def end_all(demo: Demo) -> None:
    for key in demo.sessions(""):
        demo.delete(key)


@pytest.mark.parametrize("name", ["react", "vue", "angular"])
def test_a_page_follows_the_session(page: Page, demo: Demo, name: str) -> None:
    """Out, in with orders, told of the end and its reason, in again, and out by its own button."""
    enter(page, demo, name)
    end_all(demo)
    expect(page.locator("main[data-status=signed-out] #end")).to_have_text(
        "session_ended unknown", timeout=_PATIENCE
    )
    assert "Alice" not in page.locator("body").inner_html()
    page.get_by_role("button", name="Enter").click()  # the provider knows her still
    expect(page.locator("main[data-status=signed-in] h1")).to_have_text("Alice Liddell", timeout=_PATIENCE)
    page.get_by_role("button", name="Leave").click()
    page.wait_for_url(f"{demo.url}/")
    assert [] == demo.sessions("")


@pytest.mark.requirement("B-19")
def test_another_person_is_shown_after_the_first_is_off_the_page(page: Page, demo: Demo) -> None:
    """It is told as an end; who is there now is shown when the user comes back to the page."""
    enter(page, demo, "react")
    page.evaluate("""() => {
      window.shown = [];
      const look = () => shown.push(document.querySelector("main").dataset.status);
      new MutationObserver(look).observe(document, { subtree: true, attributes: true });
    }""")
    other = page.context.new_page()
    other.goto(f"{demo.url}/bff/login?return_to=/&prompt=login")
    fill_in(other, BOB)
    other.wait_for_url(f"{demo.url}/")
    ended = expect(page.locator("main[data-status=signed-out] #end"))
    ended.to_have_text("session_ended signed_in_again", timeout=_PATIENCE)
    page.evaluate("() => { dispatchEvent(new Event('focus')); }")
    expect(page.locator("h1")).to_have_text("Bob Builder", timeout=_PATIENCE)
    assert ["signed-out", "signed-in"] == page.evaluate("shown")


@pytest.mark.requirement("T-10")
def test_a_proxy_that_cannot_answer_signs_nobody_out(page: Page, demo: Demo) -> None:
    """With its store away the page goes on as it was, and begins as soon as it is back."""
    page.route("**/bff/user?*", lambda route: route.fulfill(status=503))
    page.goto(f"{demo.url}/react/index.html")
    expect(page.locator("main[data-status=loading]")).to_have_text("One moment")
    page.unroute("**/bff/user?*")
    expect(page.locator("main[data-status=signed-out]")).to_be_visible(timeout=_PATIENCE)


def test_angulars_interceptor_and_guard(page: Page, demo: Demo) -> None:
    """A call may keep its 401; else the page leaves, and a guarded route is where sign-in comes back to."""
    page.goto(f"{demo.url}/angular/index.html?bff_error=access_denied")  # nothing leaves by itself then
    expect(page.locator("main[data-status=signed-out]")).to_be_visible(timeout=_PATIENCE)
    assert [401, "session_missing"] == page.evaluate("tries.keeps()")
    assert [401, "session_missing"] == page.evaluate("tries.leaves()")
    page.goto(f"{demo.url}/angular/index.html")
    expect(page.locator("main[data-status=signed-out]")).to_be_visible(timeout=_PATIENCE)
    page.evaluate("() => { tries.guard(); }")
    fill_in(page)
    expect(page.locator("main[data-status=signed-in] h1")).to_be_visible(timeout=_PATIENCE)
    assert f"{demo.url}/angular/index.html?deep" == page.url
    assert page.evaluate("tries.guard()") is True


def test_clients_that_take_a_fetch(page: Page, demo: Demo) -> None:
    """openapi-fetch, ky, axios and TanStack Query get the answers, and our errors where there are none."""
    names = ("openapi", "ky", "axios", "query")
    page.goto(f"{demo.url}/bff/login?return_to=/clients/index.html")
    fill_in(page)
    expect(page).to_have_title("ready", timeout=_PATIENCE)
    orders = page.evaluate("""async () => {
      const answer = await fetch("/api/orders", { headers: { "X-CSRF": "1" } });
      return (await answer.json()).orders.length;
    }""")
    assert dict.fromkeys(names, orders) == page.evaluate("tries()")
    assert page.evaluate("refusal") is None
    page.goto(f"{demo.url}/clients/index.html?x=1&bff_error=access_denied")
    expect(page).to_have_title("ready", timeout=_PATIENCE)
    assert f"{demo.url}/clients/index.html?x=1" == page.url
    assert "access_denied" == page.evaluate("refusal")
    end_all(demo)
    assert dict.fromkeys(names, "session_ended") == page.evaluate("tries()")
    assert f"{demo.url}/clients/index.html?x=1" == page.url


def test_the_types_are_true(page: Page, demo: Demo, site: Path) -> None:
    """`tsc --strict` takes all TypeScript of the documentation, the pages, and the endpoints' answers."""
    enter(page, demo, "react")
    answers = {name: json.dumps(value) for name, value in page.evaluate(_ASK).items()}
    (site / "types" / "answers.ts").write_text(_ANSWERS.format(**answers), encoding="utf-8")
    run(site, "node", "../node_modules/typescript-native/bin/tsc", "--project", ".")
