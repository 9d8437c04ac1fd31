"""One demo and one Chromium for all tests here; a fresh profile for each."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.browser.demo import Demo, running_demo
from tests.browser.foreign import ForeignSite, foreign_site
from tests.browser.visit import find_chromium, find_headless, launched

expect.set_options(timeout=60_000)  # milliseconds; five seconds by default
WORKERS = 2  # a call may meet another one than the call before

# The scope is the package, not the session: Playwright's loop must be gone before the next asyncio test.


@pytest.fixture(scope="package", name="playwright")
def _playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package", name="browser")
def _browser(playwright: Playwright) -> Iterator[Browser]:
    executable = find_headless()
    if executable is None:
        pytest.skip("no Chromium")
    with launched(playwright, executable) as browser:
        yield browser


@pytest.fixture(name="back_button")
def _back_button(playwright: Playwright, demo: Demo) -> Iterator[Page]:
    """A page in a whole Chromium, which keeps left pages for the back button."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium")
    with launched(playwright, executable) as browser:
        context = browser.new_context(base_url=demo.url)
        context.set_default_timeout(60_000)
        yield context.new_page()


@pytest.fixture(scope="package", name="demo")
def _demo(browser: Browser) -> Iterator[Demo]:  # noqa: ARG001 - without a browser no demo is needed
    with running_demo(BFF_SERVER__WORKERS=str(WORKERS)) as demo:
        demo.has_workers(WORKERS)
        yield demo


@pytest.fixture(name="context")
def _context(browser: Browser, demo: Demo) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=demo.url)
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture(name="page")
def _page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture(name="foreign")
def _foreign() -> Iterator[ForeignSite]:
    with foreign_site() as site:
        yield site


@pytest.fixture(name="recorded")
def _recorded(
    browser: Browser, demo: Demo, tmp_path: Path
) -> Iterator[tuple[BrowserContext, Callable[[], list[dict[str, str]]]]]:
    """A profile that records all it sends and gets, and a function that ends it and reads the record.

    The record holds one `{"url", "method", "sent", "got"}` for each exchange: everything in it as text,
    bodies included.
    """
    path = tmp_path / "record.har"
    context = browser.new_context(base_url=demo.url, record_har_path=path, record_har_content="embed")
    context.set_default_timeout(60_000)
    yield context, lambda: _read(context, path)
    context.close()


def _read(context: BrowserContext, path: Path) -> list[dict[str, str]]:
    context.close()
    entries = json.loads(path.read_text(encoding="utf-8"))["log"]["entries"]
    for entry in entries:
        content = entry["response"]["content"]
        if content.get("encoding") == "base64":
            content["text"] = b64decode(content["text"]).decode("utf-8", "replace")
    return [
        {
            "url": entry["request"]["url"],
            "method": entry["request"]["method"],
            "sent": json.dumps(entry["request"]),
            "got": json.dumps(entry["response"]),
        }
        for entry in entries
    ]
