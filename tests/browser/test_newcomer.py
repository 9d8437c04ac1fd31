"""A newcomer with nothing but the tutorial: their own Vite app, API and provider, to a page behind TLS."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.visit import fill_in
from tests.node.packages import installed
from tests.npm.tutorial import Newcomer, steps
from tests.npm.workshop import HERE, ROOT
from tests.support.network.programs import program
from tests.support.processes.redis import NO_SERVER, found_redis

_PATIENCE = 60_000  # milliseconds


@pytest.fixture(name="newcomer")
def _newcomer(browser: Browser, tmp_path: Path) -> Iterator[Newcomer]:  # noqa: ARG001 - not without a browser
    installed(HERE)  # there is a Node, or none of this
    if not (server := found_redis()).real:
        pytest.skip(NO_SERVER)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "nginx").symlink_to(program("nginx"))
    (tools / "redis-server").symlink_to(server.command[0])
    (tools / "python3").symlink_to(Path(sys.executable).resolve())
    newcomer = Newcomer(
        tmp_path,
        {
            **{name: value for name, value in os.environ.items() if not name.startswith(("BFF_", "ISSUER_"))},
            "BFF": str(ROOT),
            "PATH": f"{tools}:{os.environ['PATH']}",
            # What pip would fetch again is here already.
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            # The newest of this day, so that no later release of somebody's decides whether this passes.
            "NPM_CONFIG_BEFORE": "2026-11-28",
            **{f"NPM_CONFIG_{name}": "false" for name in ("AUDIT", "FUND", "UPDATE_NOTIFIER")},
        },
    )
    try:
        yield newcomer
    finally:
        newcomer.leave()


def sign_in(newcomer: Newcomer, page: Page, url: str) -> None:
    """By the page's button, once all that was started is there: sign-in leads to the form then."""
    opened(newcomer, page, f"{url}/bff/login?return_to=/")
    page.goto(url)
    page.get_by_role("button", name="Sign in").click(timeout=_PATIENCE)
    fill_in(page)


def opened(newcomer: Newcomer, page: Page, url: str) -> None:
    """The page at an address, once it is there."""
    for _ in range(600):
        dead = {name: child.last_lines(20) for name, child in newcomer.terminals.items() if not child.alive()}
        assert {} == dead
        try:
            answer = page.goto(url)
        except Exception:  # noqa: BLE001 - Playwright's own: nobody listens yet
            answer = None
        if answer is not None and answer.ok:
            return
        page.wait_for_timeout(100)
    raise AssertionError({name: child.last_lines(20) for name, child in newcomer.terminals.items()})


def at_home(newcomer: Newcomer, page: Page, heading: str) -> None:
    """She is greeted, and sees her orders."""
    try:
        expect(page.get_by_role("heading", name=heading)).to_be_visible(timeout=_PATIENCE)
        expect(page.locator("main")).to_contain_text("Hello Alice Liddell", timeout=_PATIENCE)
        expect(page.get_by_role("listitem")).to_have_text(["A looking-glass"], timeout=_PATIENCE)
    except AssertionError as error:
        said = {name: child.last_lines(20) for name, child in newcomer.terminals.items()}
        raise AssertionError(f"{error}\n{page.url}\n{said}") from error


def test_the_tutorial_word_for_word(newcomer: Newcomer, browser: Browser) -> None:
    """Its commands and files alone: hot reload through the proxy, `tsc`, the built page behind nginx."""
    for step in steps():
        if step.text.startswith("npm run build"):
            develop(newcomer, browser)
            newcomer.stop("the proxy", "the page", "the issuer", "the API", "Redis")
        newcomer.follow(step)
    produce(newcomer, browser)


def connected(page: Page, said: list[str]) -> None:
    """Waits until Vite's client says that its socket is open: before that it is told of no change."""
    for _ in range(_PATIENCE // 50):
        if [text for text in said if text.startswith("[vite]")][-1:] == ["[vite] connected."]:
            return
        page.wait_for_timeout(50)
    raise AssertionError(said)


def develop(newcomer: Newcomer, browser: Browser) -> None:
    """What the tutorial says of the development server."""
    context = browser.new_context()
    page = context.new_page()
    sockets: list[str] = []
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("websocket", lambda socket: sockets.append(socket.url))
    url = newcomer.here("http://localhost:8080")
    sign_in(newcomer, page, url)
    at_home(newcomer, page, "The shop")
    connected(page, said)
    page.evaluate("window.same = true")
    file = newcomer.folder / "shop" / "web" / "src" / "App.tsx"
    file.write_text(file.read_text(encoding="utf-8").replace("The shop", "The store"), encoding="utf-8")
    at_home(newcomer, page, "The store")
    assert page.evaluate("window.same") is True
    assert sockets
    assert all(socket.startswith(newcomer.here("ws://localhost:8080/")) for socket in sockets)
    # The built page's policy is reported here, not enforced: Vite's own inline script breaks it, and has run.
    told = [text for text in said if "Content Security Policy" in text]
    assert [text for text in told if "inline script" in text], said
    assert [] == [text for text in told if "report" not in text.lower()]
    context.close()


def produce(newcomer: Newcomer, browser: Browser) -> None:
    """What it says of the built page."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    url = newcomer.here("https://localhost:8443")
    sign_in(newcomer, page, url)
    at_home(newcomer, page, "The store")
    cookies: list[Any] = [cookie for cookie in context.cookies(url) if cookie["name"] == "__Host-Http-bff"]
    ((secure, hidden, site),) = [(each["secure"], each["httpOnly"], each["sameSite"]) for each in cookies]
    assert (True, True, "Strict") == (secure, hidden, site)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=_PATIENCE)
    assert f"{url}/" == page.url
    assert [] == [text for text in said if "Content Security Policy" in text or "401" in text]
    context.close()
