"""Every page of ours by axe, and by a ruler at 320 px: the demo's, the errors', and the issuer's."""

import time
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect
from starlette.responses import Response

from bff.oidc.client import OidcClient
from bff.oidc.providers import Providers
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks
from bff.web.provider_choice import ProviderChoice
from tests.browser.accessibility import faults
from tests.browser.demo import Demo
from tests.browser.visit import ALICE, fill_in, session_id, sign_in, signed_in, signed_out, to_provider


def test_the_ruler_and_axe_find_faults(page: Page, demo: Demo) -> None:
    """A page with a picture that says nothing and a line that is too long is not let through."""
    page.goto(f"{demo.url}/bff/nothing")
    page.evaluate("""() => {
      document.querySelector("main").append(new Image());
      document.querySelector("h1").style.whiteSpace = "nowrap";
    }""")
    said = str(faults(page))
    assert "image-alt" in said
    assert "the page" in said


def test_errors(page: Page, demo: Demo) -> None:
    """A page for each of three refusals: of an address, of a missing route, of a call by navigation."""
    for path, heading in (
        ("/bff/login?return_to=//evil.example", "return_to is not a path on this site"),
        ("/bff/nothing", "Nothing is configured at this address"),
        ("/api/orders", "did not come from this site"),
    ):
        page.goto(demo.url + path)
        expect(page.get_by_role("heading")).to_contain_text(heading)
        assert {} == faults(page)


def test_the_demo(page: Page, demo: Demo) -> None:
    """Signed out, signed in with devices, orders and results, near the end, and ended."""
    page.goto(demo.url)
    signed_out(page)
    assert {} == faults(page)
    sign_in(page, demo.url)
    page.locator("#fifty").click()
    expect(page.locator("#fifty-result")).to_contain_text("rotation", timeout=60_000)
    expect(page.locator("#devices li").first).to_be_visible()
    assert {} == faults(page)
    page.evaluate("""() => {
      document.getElementById("notice-text").textContent = "Your session ends in 1:00, unless it is used.";
      document.getElementById("notice").hidden = document.getElementById("stay").hidden = false;
    }""")
    assert {} == faults(page)
    (key,) = demo.sessions(session_id(page))
    demo.delete(key)
    expect(page.get_by_role("heading", name="Your session has ended")).to_be_visible(timeout=60_000)
    assert {} == faults(page)


def test_the_choice_of_a_provider(page: Page, demo: Demo) -> None:
    """The page with a link for each, as the proxy makes it."""
    common = {"issuer": "https://id.example", "client_id": "spa", "client_secret": "s3cret"}
    clients = [
        OidcClient(ProviderSettings.model_validate({**common, "name": name}), clock=time.time, tasks=Tasks())
        for name in ("staff", "partners-with-the-longest-name")
    ]
    answer = ProviderChoice(Providers(clients), base_path="", page=True).of([("return_to", "/")])
    assert isinstance(answer, Response)
    page.route(
        "**/bff/login", lambda route: route.fulfill(body=bytes(answer.body), headers=dict(answer.headers))
    )
    page.goto(f"{demo.url}/bff/login")
    expect(page.get_by_role("link")).to_have_count(2)
    assert {} == faults(page)


@pytest.mark.requirement("J-11")
def test_the_issuers_pages(page: Page, demo: Demo) -> None:
    """Sign-in, its error, the question before a sign-out, what comes after it, and a refusal."""
    page.goto(demo.url)
    signed_out(page)
    to_provider(page)
    issuer = "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
    assert {} == faults(page)
    fill_in(page, (ALICE[0], "not hers"))
    expect(page.get_by_role("alert")).to_be_visible()
    assert {} == faults(page)
    fill_in(page)
    signed_in(page)
    page.goto(f"{issuer}/end-session")
    expect(page.get_by_role("heading", name="Sign out?")).to_be_visible()
    assert {} == faults(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    assert {} == faults(page)
    page.goto(f"{issuer}/authorize?client_id=nobody")
    expect(page.get_by_role("heading")).to_be_visible()
    assert {} == faults(page)
