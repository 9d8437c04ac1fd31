"""The guard against requests that other sites make a browser send."""

from typing import Literal

import pytest

from bff.policy.csrf import ALLOWED, ANONYMOUS, Allowed, Anonymous, Guard, Reason, Rejected
from bff.policy.fields import Header

GUARD = Guard(origin=b"https://app.example.com", csrf_header=b"x-csrf")
CSRF = (b"x-csrf", b"1")
SAME = (b"sec-fetch-site", b"same-origin")
OURS = (b"origin", b"https://app.example.com")
FOREIGN_SITES = [b"same-site", b"cross-site", b"none", b"", b"Same-Origin", b"same-origin, none", b"x"]
FOREIGN_ORIGINS = [
    b"null",
    b"",
    b"https://app.example.com:443",
    b"https://app.example.com/",
    b"http://app.example.com",
    b"https://APP.example.com",
    b"https://app.example.com.evil.example",
    b"https://evil.example",
    b"https://app.example.com https://app.example.com",
]


@pytest.mark.requirement("B-38")
@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("csrf_header_missing", "the header `X-Own: 1`"),
        ("csrf_header_invalid", "the header `X-Own: 1` once"),
        ("fetch_site", "Sec-Fetch-Site"),
        ("fetch_site_missing", "`X-Own: 1`, or use a browser that sends Sec-Fetch-Site"),
        ("origin", "Origin has to be https://app.example.com"),
    ],
)
def test_a_refusal_is_explained(reason: Reason, wanted: str) -> None:
    """What to send, by the name that the settings give it, and where that is documented."""
    text = Guard(GUARD.origin, b"x-own", "X-Own").explain(reason)
    assert wanted in text
    assert "documentation of bff" in text
    assert "Endpoints" in text
    assert "EventSource" not in text


def test_a_header_that_an_element_cannot_send() -> None:
    """A GET without the header may be a link's or an EventSource's: the advice names the route's setting."""
    assert 'EventSource cannot: give their route `csrf = "navigation"`.' in GUARD.explain(
        "csrf_header_missing", by_element=True
    )


@pytest.mark.requirement("B-10", "B-11")
@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ([CSRF], ALLOWED),
        ([CSRF, SAME], ALLOWED),
        ([CSRF, SAME, OURS, (b"accept", b"*/*")], ALLOWED),
        ([CSRF, OURS], ALLOWED),
        ([], Rejected("csrf_header_missing")),
        ([SAME, OURS], Rejected("csrf_header_missing")),
        ([(b"x_csrf", b"1")], Rejected("csrf_header_missing")),
        ([(b"x-csrf", b"")], Rejected("csrf_header_invalid")),
        ([(b"x-csrf", b"0")], Rejected("csrf_header_invalid")),
        ([(b"x-csrf", b"1, 1")], Rejected("csrf_header_invalid")),
        ([CSRF, CSRF], Rejected("csrf_header_invalid")),
        ([CSRF, SAME, SAME], Rejected("fetch_site")),
        ([CSRF, OURS, OURS], Rejected("origin")),
    ],
)
def test_script(headers: list[Header], outcome: Allowed | Rejected) -> None:
    """A script's call needs the CSRF header exactly once, whatever its method."""
    assert outcome == GUARD.script(headers)


@pytest.mark.requirement("B-11")
@pytest.mark.parametrize("site", FOREIGN_SITES)
def test_foreign_fetch_site(site: bytes) -> None:
    """Any `Sec-Fetch-Site` but `same-origin` is refused, header or no header."""
    assert Rejected("fetch_site") == GUARD.script([CSRF, (b"sec-fetch-site", site)])
    assert Rejected("fetch_site") == GUARD.script([CSRF, SAME, (b"sec-fetch-site", site)])
    assert Rejected("fetch_site") == GUARD.navigation([(b"sec-fetch-site", site)], b"GET")


@pytest.mark.requirement("B-11")
@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_foreign_origin(origin: bytes) -> None:
    """`Origin` must be ours to the letter; `null` is foreign."""
    assert Rejected("origin") == GUARD.script([CSRF, (b"origin", origin)])
    assert Rejected("origin") == GUARD.script([CSRF, SAME, OURS, (b"origin", origin)])
    assert Rejected("origin") == GUARD.navigation([SAME, (b"origin", origin)], b"GET")


@pytest.mark.requirement("B-11")
@pytest.mark.parametrize(
    ("method", "headers", "outcome"),
    [
        (b"GET", [SAME], ALLOWED),
        (b"HEAD", [SAME, OURS], ALLOWED),
        (b"GET", [CSRF], ALLOWED),
        (b"POST", [CSRF, SAME], ALLOWED),
        (b"GET", [], Rejected("fetch_site_missing")),
        (b"GET", [OURS], Rejected("fetch_site_missing")),
        (b"GET", [SAME, (b"x-csrf", b"2")], Rejected("csrf_header_invalid")),
        (b"POST", [SAME, OURS], Rejected("csrf_header_missing")),
        (b"OPTIONS", [SAME], Rejected("csrf_header_missing")),
        (b"get", [SAME], Rejected("csrf_header_missing")),
    ],
)
def test_navigation(method: bytes, headers: list[Header], outcome: Allowed | Rejected) -> None:
    """Images and downloads come by `Sec-Fetch-Site: same-origin` alone; everything else needs the header."""
    assert outcome == GUARD.navigation(headers, method)
    assert outcome == GUARD.route(headers, method, auth="required", csrf="navigation")


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ([], ANONYMOUS),
        ([OURS, SAME], ANONYMOUS),
        ([(b"origin", b"https://evil.example"), (b"sec-fetch-site", b"cross-site")], ANONYMOUS),
        ([CSRF, SAME], ALLOWED),
        ([CSRF, CSRF], Rejected("csrf_header_invalid")),
        ([CSRF, (b"sec-fetch-site", b"cross-site")], Rejected("fetch_site")),
    ],
)
def test_optional(headers: list[Header], outcome: Allowed | Anonymous | Rejected) -> None:
    """Where signing in is optional, a call without the CSRF header goes on without the cookie."""
    assert outcome == GUARD.optional(headers)
    assert outcome == GUARD.route(headers, b"GET", auth="optional", csrf="header")


@pytest.mark.parametrize(
    ("auth", "csrf", "headers", "outcome"),
    [
        ("none", "header", [], ANONYMOUS),
        ("none", "navigation", [CSRF, SAME], ANONYMOUS),
        ("required", "header", [CSRF], ALLOWED),
        ("required", "header", [SAME], Rejected("csrf_header_missing")),
        ("optional", "navigation", [SAME], ALLOWED),
        ("optional", "navigation", [], ANONYMOUS),
        ("optional", "navigation", [(b"sec-fetch-site", b"cross-site")], ANONYMOUS),
        ("optional", "navigation", [CSRF, (b"sec-fetch-site", b"cross-site")], Rejected("fetch_site")),
    ],
)
def test_route(
    auth: Literal["required", "optional", "none"],
    csrf: Literal["header", "navigation"],
    headers: list[Header],
    outcome: Allowed | Anonymous | Rejected,
) -> None:
    """Each route gets the check that it is configured for; without a session there is nothing to guard."""
    assert outcome == GUARD.route(headers, b"GET", auth=auth, csrf=csrf)


@pytest.mark.requirement("L-03")
@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ([], ALLOWED),
        ([SAME], ALLOWED),
        ([(b"sec-fetch-site", b"none")], ALLOWED),
        ([(b"sec-fetch-site", b"same-site")], Rejected("fetch_site")),
        ([(b"sec-fetch-site", b"cross-site")], Rejected("fetch_site")),
        ([(b"sec-fetch-site", b"none"), SAME], Rejected("fetch_site")),
        ([SAME, (b"origin", b"null")], Rejected("origin")),
    ],
)
def test_sign_out(headers: list[Header], outcome: Allowed | Rejected) -> None:
    """No other site can navigate a browser to our logout, even if it knew the address."""
    assert outcome == GUARD.sign_out(headers)


@pytest.mark.requirement("B-29")
@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ([OURS], ALLOWED),
        ([OURS, SAME], ALLOWED),
        ([], Rejected("origin")),
        ([CSRF, SAME], Rejected("origin")),
        ([OURS, OURS], Rejected("origin")),
        ([OURS, (b"origin", b"https://evil.example")], Rejected("origin")),
        ([OURS, (b"sec-fetch-site", b"same-site")], Rejected("fetch_site")),
        ([OURS, SAME, SAME], Rejected("fetch_site")),
    ],
)
def test_websocket(headers: list[Header], outcome: Allowed | Rejected) -> None:
    """An upgrade needs exactly one Origin, and ours; what a browser adds must not contradict it."""
    assert outcome == GUARD.websocket(headers)


@pytest.mark.requirement("B-29")
@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_websocket_of_a_foreign_origin(origin: bytes) -> None:
    """No foreign page opens a socket."""
    assert Rejected("origin") == GUARD.websocket([(b"origin", origin)])
