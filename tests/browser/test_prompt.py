"""A backend that asks for a password: no prompt of the browser opens on our origin (H-14)."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from bff.embedded import free_port
from tests.support.network.nginx import listens
from tests.support.processes.command import started, variables_for

CHALLENGES = {
    "/basic": ['Basic realm="orders"'],
    "/digest": ['Digest realm="orders", nonce="abc", qop="auth"'],
    "/both": ['Bearer realm="orders", Basic realm="orders"', 'Basic realm="orders"'],
}


class _Asking(BaseHTTPRequestHandler):
    """Answers 401 with the challenges of its path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(401)
        for value in CHALLENGES.get(self.path, []):
            self.send_header("WWW-Authenticate", value)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.write(b"go away\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Says nothing."""


@pytest.fixture(name="asking", scope="module")
def _asking() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Asking)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(name="proxy", scope="module")
def _proxy(browser: Browser, asking: str) -> Iterator[str]:  # noqa: ARG001 - without a browser no proxy is needed
    port = free_port()
    route = {"path": "/api", "upstream": asking, "auth": "none", "csrf": "navigation", "html": True}
    environ = variables_for("http://localhost:1", "embedded") | {
        "BFF_SERVER__PUBLIC_URL": f"http://localhost:{port}",
        "BFF_SERVER__PORT": str(port),
        "BFF_SERVER__OPS_PORT": "off",
        "BFF_ROUTE": json.dumps([route]),
    }
    with started("serve", environ=environ, out=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not listens(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://localhost:{port}"
        process.terminate()
        process.wait(60)


def prompts(page: Page, url: str, path: str) -> tuple[list[str], int]:
    """For which schemes the browser would ask on the way to a page and to what it fetches; and the status."""
    asked: list[str] = []
    session = page.context.new_cdp_session(page)
    session.send("Fetch.enable", {"handleAuthRequests": True})

    def go_on(event: dict[str, Any]) -> None:
        session.send("Fetch.continueRequest", {"requestId": event["requestId"]})

    def note(event: dict[str, Any]) -> None:
        asked.append(event["authChallenge"]["scheme"])
        session.send(
            "Fetch.continueWithAuth",
            {"requestId": event["requestId"], "authChallengeResponse": {"response": "CancelAuth"}},
        )

    session.on("Fetch.requestPaused", go_on)
    session.on("Fetch.authRequired", note)
    answer = page.goto(url + path)
    assert answer is not None
    page.evaluate("(path) => fetch(path, {headers: {'X-CSRF': '1'}}).then(got => got.text())", path)
    session.detach()
    return asked, answer.status


@pytest.mark.requirement("H-14")
@pytest.mark.parametrize("path", CHALLENGES)
def test_no_prompt_opens(browser: Browser, asking: str, proxy: str, path: str) -> None:
    """Where the backend itself would make the browser ask, behind the proxy it gets a 401 and does not."""
    context = browser.new_context()
    try:
        directly, _ = prompts(context.new_page(), asking, path)
        assert directly, "this browser asks for nothing: the test would show nothing"
        assert ([], 401) == prompts(context.new_page(), proxy, "/api" + path)
    finally:
        context.close()
