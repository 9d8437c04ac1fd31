"""What a person does on the page, and what Chromium it is done in."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

ALICE = ("alice@example.com", "wonderland")
BOB = ("bob@example.com", "builder")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> str | None:
    """The path of an installed Chromium or Chrome; Playwright's own are not looked for."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def find_headless() -> str | None:
    """The path of a Chromium without the code of windows, which takes a third of the CPU; else as above."""
    return shutil.which("chromium-headless-shell") or find_chromium()


@contextmanager
def chromium(executable: str) -> Iterator[Browser]:
    """A running headless Chromium with a Playwright of its own."""
    with sync_playwright() as playwright, launched(playwright, executable) as browser:
        yield browser


@contextmanager
def launched(playwright: Playwright, executable: str) -> Iterator[Browser]:
    """A running headless Chromium, which keeps left pages for the back button as everybody's does.

    One without the code of windows keeps none.
    """
    arguments = [*_QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]  # root may not have a sandbox
    browser = playwright.chromium.launch(
        executable_path=executable,
        args=arguments,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    try:
        yield browser
    finally:
        browser.close()


def signed_in(page: Page) -> None:
    """Waits until the page shows somebody's account, its orders included."""
    expect(page.locator("body[data-state=in] #orders tr").first).to_be_visible(timeout=60_000)


def signed_out(page: Page) -> None:
    """Waits until the page invites to sign in."""
    expect(page.locator("body[data-state=out] #sign-in")).to_be_visible(timeout=60_000)


def to_provider(page: Page) -> None:
    """Goes from the invitation to the provider's form."""
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Password")).to_be_visible(timeout=60_000)


def fill_in(page: Page, account: tuple[str, str] = ALICE) -> None:
    """Fills the provider's form in, and sends it."""
    email, password = account
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def sign_in(page: Page, url: str, account: tuple[str, str] = ALICE) -> None:
    """From nothing to a page that shows the account."""
    page.goto(url)
    signed_out(page)
    to_provider(page)
    fill_in(page, account)
    signed_in(page)


def session_id(page: Page) -> str:
    """The short name of the session that the page shows."""
    return page.locator("#session-id").inner_text()


def rotations(page: Page) -> int:
    """How often the session's tokens were rotated, asked without sliding its timeout."""
    asked = page.evaluate(
        """async () => (await (await fetch("/bff/user?slide=false", { headers: { "X-CSRF": "1" } })).json())
             .session.rotations"""
    )
    return int(asked)


def addresses(page: Page) -> list[str]:
    """The addresses in the tab's history, oldest first."""
    entries: list[dict[str, Any]] = page.context.new_cdp_session(page).send("Page.getNavigationHistory")[
        "entries"
    ]
    return [entry["url"] for entry in entries if urlsplit(entry["url"]).scheme.startswith("http")]
