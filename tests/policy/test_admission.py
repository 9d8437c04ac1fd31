"""Whether a request may go towards a backend at all."""

from typing import Any

import pytest

from bff.errors import Problem
from bff.policy.admission import Admitted, Denied, RequestHead, admit, admit_upgrade
from bff.policy.csrf import Guard
from bff.policy.fields import Fields
from bff.policy.routes import RouteTable
from bff.settings.model import RouteSettings

GUARD = Guard(b"https://app.example.com", b"x-csrf")
OURS = [(b"x-csrf", b"1"), (b"sec-fetch-site", b"same-origin")]


def judged(
    method: bytes = b"GET",
    path: bytes = b"/api/orders",
    *,
    query: bytes = b"",
    headers: list[tuple[bytes, bytes]] | None = None,
    length: int | None = 0,
    **route: Any,
) -> Admitted | Denied:
    settings = RouteSettings(path="/api", upstream="http://127.0.0.1:8000/v1", **route)
    request = RequestHead(
        method=method,
        raw_path=path,
        query=query,
        fields=Fields(OURS if headers is None else headers),
        peer="192.0.2.1",
        body_length=length,
    )
    return admit(request, RouteTable.from_settings([settings]), GUARD)


def problem_of(verdict: Admitted | Denied) -> Problem:
    assert isinstance(verdict, Denied)
    return verdict.problem


def test_a_good_request_is_admitted_to_its_route() -> None:
    """The target lies under the configured path; the session counts."""
    verdict = judged()
    assert isinstance(verdict, Admitted)
    assert (b"/v1/orders", True, b"/api") == (verdict.target, verdict.signed, verdict.route.path)


@pytest.mark.requirement("B-11")
def test_an_optional_route_without_the_header_is_anonymous() -> None:
    """As if nobody were signed in; so is everything on a route without sign-in."""
    for verdict in (judged(headers=[], auth="optional"), judged(headers=[], auth="none")):
        assert isinstance(verdict, Admitted)
        assert not verdict.signed


@pytest.mark.requirement("B-12", "B-13")
@pytest.mark.parametrize(
    ("problem", "request_"),
    [
        (Problem.NO_ROUTE, {"path": b"/other"}),
        (Problem.BAD_REQUEST, {"path": b"/api/../x"}),
        (Problem.BAD_REQUEST, {"query": b"a=\x00"}),
        (Problem.METHOD_NOT_ALLOWED, {"method": b"PROPFIND"}),
        (Problem.CSRF_REJECTED, {"headers": []}),
        (Problem.BODY_TOO_LARGE, {"method": b"POST", "length": 11, "max_body": 10}),
    ],
)
def test_what_is_denied(problem: Problem, request_: dict[str, Any]) -> None:
    """Each rule has its problem."""
    assert problem is problem_of(judged(**request_))


def test_a_body_of_unknown_length_is_measured_later() -> None:
    """A chunked body is let in; so is one of exactly the limit."""
    for length in (None, 10):
        assert isinstance(judged(b"POST", length=length, max_body=10), Admitted)


@pytest.mark.requirement("B-34")
def test_a_preflight_is_answered_here() -> None:
    """Even where a route takes OPTIONS and no sign-in, a foreign page's question goes no further."""
    asks = [(b"origin", b"https://evil.example"), (b"access-control-request-method", b"POST")]
    route: dict[str, Any] = {"auth": "none", "methods": ("OPTIONS",)}
    assert Problem.METHOD_NOT_ALLOWED is problem_of(judged(b"OPTIONS", headers=asks, **route))
    assert isinstance(judged(b"OPTIONS", headers=[], **route), Admitted)


def test_the_same_fields_are_judged_once_and_alike() -> None:
    """Fields that come again lead to the same verdict; another kind of method or route is judged anew."""
    table = RouteTable.from_settings(
        [
            RouteSettings(path="/api", upstream="http://127.0.0.1:8000"),
            RouteSettings(path="/img", upstream="http://127.0.0.1:8000", csrf="navigation"),
        ]
    )
    fields = Fields([(b"sec-fetch-site", b"same-origin")])

    def admitted(method: bytes, path: bytes) -> bool:
        return isinstance(admit(RequestHead(method, path, b"", fields, "192.0.2.1"), table, GUARD), Admitted)

    for _ in range(2):
        assert not admitted(b"GET", b"/api/x")
        assert admitted(b"GET", b"/img/x")
        assert not admitted(b"POST", b"/img/x")


ORIGIN = (b"origin", b"https://app.example.com")


def upgrade(
    path: bytes = b"/api/feed",
    *,
    query: bytes = b"",
    headers: tuple[tuple[bytes, bytes], ...] = (ORIGIN,),
    **route: Any,
) -> Admitted | Denied:
    settings = RouteSettings(path="/api", upstream="http://127.0.0.1:8000/v1", **{"websocket": True, **route})
    request = RequestHead(b"GET", path, query, Fields(list(headers)), "192.0.2.1")
    return admit_upgrade(request, RouteTable.from_settings([settings]), GUARD)


@pytest.mark.requirement("B-29")
@pytest.mark.parametrize(("auth", "signed"), [("required", True), ("optional", True), ("none", False)])
def test_an_upgrade_from_our_page(auth: str, signed: bool) -> None:
    """It goes to its route; whether a session is looked up is the route's to say."""
    verdict = upgrade(auth=auth)
    assert isinstance(verdict, Admitted)
    assert (b"/v1/feed", signed) == (verdict.target, verdict.signed)


@pytest.mark.requirement("B-12", "B-29")
@pytest.mark.parametrize(
    ("problem", "request_"),
    [
        (Problem.BAD_REQUEST, {"path": b"/elsewhere"}),
        (Problem.BAD_REQUEST, {"path": b"/bff/user"}),
        (Problem.BAD_REQUEST, {"path": b"/api/../x"}),
        (Problem.BAD_REQUEST, {"query": b"a b"}),
        (Problem.BAD_REQUEST, {"websocket": False}),
        (Problem.CSRF_REJECTED, {"headers": ()}),
        (Problem.CSRF_REJECTED, {"headers": (), "auth": "none"}),
        (Problem.CSRF_REJECTED, {"headers": ((b"origin", b"https://evil.example"),)}),
    ],
)
def test_upgrades_that_are_denied(problem: Problem, request_: dict[str, Any]) -> None:
    """A path that takes none, a path that is none, a page that is not ours, whatever the route's sign-in."""
    assert problem is problem_of(upgrade(**request_))


def test_a_refusal_names_the_setting() -> None:
    """Of an upgrade on a route that takes none, and of a GET that a link could have sent."""
    refused = [
        upgrade(websocket=False),
        judged(headers=[]),
        judged(b"POST", headers=[]),
    ]
    assert [
        (True, False),
        (False, True),
        (False, False),
    ] == [
        ("`websocket = true`" in verdict.reason, '`csrf = "navigation"`' in verdict.detail)
        for verdict in refused
        if isinstance(verdict, Denied)
    ]


BRINGS = [(b"authorization", b"Bearer a.b.c")]
MIXED: dict[str, Any] = {"auth": "session or bearer", "bearer_audience": "orders"}


@pytest.mark.requirement("P-10")
def test_a_token_that_a_client_brings() -> None:
    """It is taken in place of a session and of the guard's headers, on routes that say so alone."""
    for verdict in (judged(headers=BRINGS, **MIXED), upgrade(headers=tuple(BRINGS), **MIXED)):
        assert isinstance(verdict, Admitted)
        assert (False, b"a.b.c") == (verdict.signed, verdict.bearer)
    both = [*BRINGS, (b"cookie", b"bff=x")]
    for problem, headers in (
        (Problem.CSRF_REJECTED, []),
        (Problem.BEARER_AND_COOKIE, both),
        (Problem.BAD_REQUEST, [*BRINGS, *BRINGS]),
    ):
        assert problem is problem_of(judged(headers=headers, **MIXED))
        assert problem is problem_of(upgrade(headers=tuple(headers), **MIXED))
    assert Problem.BODY_TOO_LARGE is problem_of(judged(headers=BRINGS, length=101, max_body=100, **MIXED))
    assert Problem.CSRF_REJECTED is problem_of(judged(headers=BRINGS))
    session = judged(**MIXED)
    assert isinstance(session, Admitted)
    assert (True, None) == (session.signed, session.bearer)


@pytest.mark.parametrize(
    ("parts", "denied"),
    [
        ({"detail": "why"}, Denied(Problem.BAD_REQUEST, "why", detail="more")),
        ({"detail": "more", "reason": "why"}, Denied(Problem.CSRF_REJECTED, "why", detail="more")),
        ({"detail": "more", "reason": None}, Denied(Problem.NO_ROUTE, "why", detail="more")),
    ],
)
def test_the_parts_that_a_client_is_told(parts: dict[str, Any], denied: Denied) -> None:
    """The reason is the client's to know where it is about its own request."""
    assert parts == denied.parts()


def test_a_client_is_told_the_methods() -> None:
    """RFC 9110 15.5.6: a 405 says what is allowed."""
    denied = judged(b"DELETE", methods=["GET", "POST"])
    assert isinstance(denied, Denied)
    assert {"detail": "", "headers": [(b"allow", b"GET, POST")]} == denied.parts()


def test_a_program_gets_no_page() -> None:
    """Who brings a token is a program, also where a cookie came beside it."""
    assert isinstance(good := judged(), Admitted)
    assert (False, True) == (good.of_program, good._replace(bearer=b"token").of_program)
    assert Denied(Problem.BEARER_AND_COOKIE, "both").of_program
    assert not Denied(Problem.NO_ROUTE, "no route").of_program
