"""The session cookie's name and attributes."""

import pytest

from bff.session.session_cookie import SessionCookie
from bff.settings.model import ServerSettings, SessionSettings

HTTPS = ServerSettings(public_url="https://app.example.com")


@pytest.mark.requirement("B-02", "B-03", "B-04", "B-05", "B-06", "B-07")
def test_the_cookie_on_https() -> None:
    """Prefixed, Secure, HttpOnly, Strict, for the whole origin, until the browser closes."""
    cookie = SessionCookie.configured(HTTPS, SessionSettings())
    assert "__Host-Http-bff=h; Path=/; HttpOnly; SameSite=Strict; Secure" == cookie.set("h")
    assert "__Host-Http-bff=; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=0" == cookie.clear()


def test_a_persistent_cookie_lives_as_long_as_a_session_may() -> None:
    """Only where it is configured."""
    settings = SessionSettings(persistent_cookie=True, max_lifetime=3600)
    assert SessionCookie.configured(HTTPS, settings).set("h").endswith("; Secure; Max-Age=3600")


def test_the_cookie_in_development() -> None:
    """On plain http browsers would refuse the prefix, and Secure."""
    plain = ServerSettings(public_url="http://localhost:8080")
    assert "bff=h; Path=/; HttpOnly; SameSite=Strict" == SessionCookie.configured(
        plain, SessionSettings()
    ).set("h")
