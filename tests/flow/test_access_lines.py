"""The access lines of the proxy's own endpoints: which endpoint, and which session."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from bff.web import accounting
from tests.support.processes.world import World

Line = tuple[str, str, int, str | None]


@pytest.fixture(name="lines")
def _lines(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """(method, route, status, session) of each answered request of ours, the session as it is written."""
    lines: list[Line] = []

    def access(**fields: Any) -> None:
        session = fields["session"]
        lines.append((fields["method"], fields["route"], fields["status"], session and session[:12]))

    monkeypatch.setattr(accounting, "access", access)
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
        ("GET", "/bff/user", 401, None),
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
