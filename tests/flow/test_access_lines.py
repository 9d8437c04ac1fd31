"""The access lines of the proxy's own endpoints: which endpoint, and which session."""

import inspect
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from bff.observe import logs
from bff.proxy.forward import call_accounting
from bff.web import accounting
from tests.support.processes.world import Browser, World
from tests.support.wait import until_async

Line = tuple[str, str, int, str | None]


def telling(tell: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    """Stands in place of `logs.access`, and tells of the fields by their names."""
    signature = inspect.signature(logs.access)
    return lambda *values, **fields: tell(signature.bind(*values, **fields).arguments)


@pytest.fixture(name="lines")
def _lines(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """(method, route, status, session) of each answered request of ours, the session as it is written."""
    lines: list[Line] = []

    def note(fields: dict[str, Any]) -> None:
        session = fields["session"]
        lines.append((fields["method"].decode(), fields["route"], fields["status"], session and session[:12]))

    monkeypatch.setattr(accounting, "access", telling(note))
    monkeypatch.setattr(call_accounting, "access", telling(note))
    return lines


@pytest.mark.requirement("B-24", "B-27")
async def test_each_line_names_its_session(world: World, lines: list[Line]) -> None:
    """From the sign-in to the sign-out by a link; endpoints with an id in their path have one name."""
    other = await world.signed_in()
    browser = await world.signed_in()
    session = browser.session_key.rpartition(":")[2][:12]
    another = other.session_key.rpartition(":")[2][:12]
    assert ("GET", "/bff/callback/finish", 303, session) in lines
    lines.clear()
    user = (await browser.user()).json()
    await browser.call("/bff/refresh", "POST")
    await browser.call("/bff/sessions")
    await browser.call(f"/bff/sessions/{another}", "DELETE")
    await browser.call(f"/bff/sessions/{another}", "DELETE")
    await browser.call("/bff/sessions", "DELETE")
    await other.user()
    logout_url = urlsplit(user["logout_url"])
    navigation = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
    await browser.client.get(f"{logout_url.path}?{logout_url.query}", headers=navigation)
    assert [
        ("GET", "/bff/user", 200, session),
        ("POST", "/bff/refresh", 200, session),
        ("GET", "/bff/sessions", 200, session),
        ("DELETE", "/bff/sessions/{id}", 200, session),
        ("DELETE", "/bff/sessions/{id}", 404, session),
        ("DELETE", "/bff/sessions", 200, session),
        ("GET", "/bff/user", 401, another),
        ("GET", "/bff/logout", 303, session),
    ] == lines


async def test_a_sign_out_by_a_script_names_its_session(world: World, lines: list[Line]) -> None:
    """The session that it has ended; without one nothing is named."""
    browser = await world.signed_in()
    session = browser.session_key.rpartition(":")[2][:12]
    lines.clear()
    await browser.call("/bff/logout", "POST")
    await browser.call("/bff/logout", "POST")
    assert [("POST", "/bff/logout", 200, session), ("POST", "/bff/logout", 200, None)] == lines


async def test_a_refused_call_names_the_session_that_it_came_with(world: World, lines: list[Line]) -> None:
    """One that is over, or whose time is up; a cookie that we have not signed names none."""
    browser, late = await world.signed_in(), await world.signed_in()
    session, too_late = (each.session_key.rpartition(":")[2][:12] for each in (browser, late))
    world.redis.cli("DEL", browser.session_key)
    await until_async(lambda: refused(browser))
    lines.clear()
    await browser.call("/api/orders")
    world.clock.ahead = 100_000
    await late.call("/api/orders")
    await late.call("/api/orders")
    await (await world.browser()).call("/api/orders", headers={"Cookie": "bff-session=x"})
    assert [
        ("GET", "/api", 401, session),
        ("GET", "/api", 401, too_late),
        ("GET", "/api", 401, too_late),
        ("GET", "/api", 401, None),
    ] == lines


async def refused(browser: Browser) -> bool:
    return (await browser.call("/api/orders")).status_code == 401


async def test_an_error_names_the_line_that_tells_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a user reads out to an operator, a page's error too; the backend's own answers name nothing."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(call_accounting, "access", telling(lines.append))
    browser = await world.signed_in()
    stranger = await world.browser()
    assert "x-request-id" not in (await browser.call("/api/orders")).headers
    for headers in (
        {},
        {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"},
        {"X-Request-ID": "of-the-edge-1"},
    ):
        answer = await stranger.client.get("/api/orders", headers=headers)
        assert not answer.is_success
        assert lines[-1]["request_id"] == answer.headers["x-request-id"]
    assert "of-the-edge-1" == lines[-1]["request_id"]
    forged = await stranger.client.get("/api/orders", headers={"X-Request-ID": "no id"})
    assert lines[-1]["request_id"] == forged.headers["x-request-id"] != "no id"
