"""The client's request, read from the question of a reverse proxy."""

import pytest

from bff.errors import Problem
from bff.policy.admission import Admitted, Denied, RequestHead
from bff.policy.csrf import Guard
from bff.policy.fields import Fields, Header
from bff.policy.forward_auth_request import (
    FORWARD_AUTH,
    SECRET,
    Asked,
    Asking,
    digest_of,
    is_forward_auth,
    no_proof,
    wants_unauthorized,
)
from bff.policy.public_origin import PublicOrigin
from bff.policy.route_access import told_fields
from bff.policy.routes import RouteTable
from bff.settings.model import RouteSettings

PUBLIC = PublicOrigin.parse("https://app.example.com")
GUARD = Guard(PUBLIC.origin, b"x-csrf")
ROUTES = RouteTable.from_settings(
    [
        RouteSettings(path="/api", upstream="http://a", pass_request_headers=("X-Remote-User",)),
        RouteSettings(path="/files", upstream="http://b", encoded_slashes=True, double_slashes=True),
        RouteSettings(path="/open", upstream="http://c", auth="none"),
        RouteSettings(path="/claims", upstream="http://d", headers={"X-Tenant": "tid"}),
        RouteSettings(path="/public", upstream="http://d/public", auth="none"),
        RouteSettings(path="/both", upstream="http://e", auth="session or bearer", bearer_audience="a"),
    ]
)
BY_PATH = {route.path: route for route in ROUTES.routes}
ASKING = Asking.compiled(PUBLIC, ROUTES, GUARD, (), told_fields(ROUTES.routes))
HOST = (b"host", b"app.example.com")
CSRF = (b"x-csrf", b"1")
COOKIE = (b"cookie", b"a=b")
FORWARDED = [(b"x-forwarded-method", b"GET"), (b"x-forwarded-uri", b"/api/orders?a=1")]
ORIGINAL = [(b"x-original-method", b"GET"), (b"x-original-uri", b"/api/orders?a=1")]
BY_URL = [(b"x-original-method", b"GET"), (b"x-original-url", b"https://app.example.com/api/orders?a=1")]


def asked(
    *headers: Header, path: bytes = b"/bff/forward-auth", method: bytes = b"GET", query: bytes = b""
) -> Asked:
    fields = [HOST, CSRF, COOKIE, *headers]
    return ASKING.judge(RequestHead(method, path, query, Fields(fields), "192.0.2.7"))


def told(uri: bytes, method: bytes = b"GET", *more: Header) -> Asked:
    return asked((b"x-forwarded-method", method), (b"x-forwarded-uri", uri), *more)


def brought(*more: Header) -> Asked:
    """A program's question, with a token of its own."""
    fields = [HOST, (b"authorization", b"Bearer x"), (b"x-forwarded-method", b"GET"), *more]
    fields.append((b"x-forwarded-uri", b"/both/a"))
    return ASKING.judge(RequestHead(b"GET", b"/bff/forward-auth", b"", Fields(fields), "192.0.2.7"))


def refusal(found: Asked) -> tuple[Problem, str]:
    assert isinstance(found.verdict, Denied)
    return found.verdict.problem, found.verdict.reason


def test_the_line_of_a_question_that_asks_for_401() -> None:
    """Known before the head is read, which may be malformed."""
    assert wants_unauthorized(b"GET /bff/forward-auth?refusal=401 HTTP/1.1")
    for other in (b"", b"GET /bff/forward-auth HTTP/1.1", b"GET /api?refusal=401 HTTP/1.1"):
        assert not wants_unauthorized(other)


def test_the_path_of_the_endpoint() -> None:
    """A path may be told behind ours; what only begins alike is another path."""
    assert is_forward_auth(b"/bff/forward-auth")
    assert is_forward_auth(b"/bff/forward-auth/api/orders")
    assert not is_forward_auth(b"/bff/forward-authority")


@pytest.mark.requirement("P-13")
@pytest.mark.parametrize(
    "found",
    [
        asked(*FORWARDED),
        asked(*ORIGINAL),
        asked(*BY_URL),
        asked(*FORWARDED, *ORIGINAL, *BY_URL[1:], (b"x-forwarded-host", b"APP.example.com:443")),
        asked(path=b"/bff/forward-auth/api/orders", query=b"a=1"),
        asked(*FORWARDED, path=b"/bff/forward-auth/api/orders", query=b"a=1"),
        asked(*FORWARDED, (b"bff-forward-auth", b"s"), (b"bff-forward-auth-route", b"/api/")),
    ],
)
def test_each_way_of_telling(found: Asked) -> None:
    """Method, path and query are what the reverse proxy tells; its own fields are none of the client's."""
    request = found.request
    assert (b"GET", b"/api/orders", b"a=1") == (request.method, request.raw_path, request.query)
    assert [HOST, CSRF, COOKIE] == request.fields.headers
    assert ("192.0.2.7", 0) == (request.peer, request.body_length)
    assert Admitted(BY_PATH[b"/api"], b"/orders", signed=True) == found.verdict


@pytest.mark.requirement("P-13")
@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("no path is told", asked((b"x-forwarded-method", b"GET"))),
        ("no method is told", asked((b"x-forwarded-uri", b"/api/orders"))),
        ("two paths are told", asked(*FORWARDED, (b"x-original-uri", b"/open/orders"))),
        (
            "two paths are told",
            asked(*FORWARDED, (b"x-original-url", b"https://evil.example/api/orders?a=1")),
        ),
        ("two paths are told", asked(*FORWARDED, path=b"/bff/forward-auth/open")),
        ("two methods are told", asked(*FORWARDED, (b"x-original-method", b"POST"))),
        (
            "two methods are told",
            asked(*FORWARDED, path=b"/bff/forward-auth/api/orders", query=b"a=1", method=b"POST"),
        ),
        ("more than one x-forwarded-uri", asked(*FORWARDED, FORWARDED[1])),
        (
            "more than one x-forwarded-host",
            asked(*FORWARDED, *[(b"x-forwarded-host", b"app.example.com")] * 2),
        ),
        (
            "more than one bff-forward-auth-route",
            asked(*FORWARDED, *[(b"bff-forward-auth-route", b"/api")] * 2),
        ),
        ("unknown method", told(b"/api/orders", b"GET, POST")),
        ("not an absolute path", told(b"https://app.example.com/api/orders")),
        ("empty segment", told(b"//api/orders")),
        ("empty segment", told(b"/files//a")),
        ("dot segment", told(b"/api/../open")),
        ("encoded dot, slash, backslash or control character", told(b"/files/a%2f..%2fb")),
        ("encoded dot, slash, backslash or control character", told(b"/files/a%2Fb")),
        ("character that must be encoded", told(b"/api/orders#/open")),
        ("character that must be encoded", told(b"/api/orders, /open")),
        ("another route once decoded", told(b"/%61pi/orders")),
        ("our own endpoint once decoded", told(b"/%62ff/user")),
        (
            "the reverse proxy takes this path for another route",
            told(b"/api/orders", b"GET", (b"bff-forward-auth-route", b"/files")),
        ),
        (
            "the field x-http-method-override may not go to a backend",
            told(b"/api/a", b"GET", (b"x-http-method-override", b"DELETE")),
        ),
        (
            "the field x_remote_user may not go to a backend",
            told(b"/files/a", b"GET", (b"x_remote_user", b"root")),
        ),
        (
            "the field x-forwarded-user may not go to a backend",
            told(b"/api/a", b"GET", (b"x-forwarded-user", b"root")),
        ),
        *(
            (
                f"the field {name.decode()} may not go to a backend",
                told(b"/api/a", b"GET", (name, b"CN=root")),
            )
            for name in (
                b"ssl_client_s_dn",
                b"x-client-cert",
                b"client-cert-chain",
                b"x-forwarded-client-cert",
                b"x_accel_mapping",
                b"x-accel-redirect",
                b"x-sendfile",
                b"x-sendfile-type",
                b"proxy",
            )
        ),
    ],
)
def test_what_is_in_doubt_is_refused(reason: str, found: Asked) -> None:
    """Nothing is guessed: what is missing, told twice or read differently by others."""
    assert (Problem.BAD_REQUEST, reason) == refusal(found)


@pytest.mark.parametrize(
    "name", [b"x_real_ip", b"x-real_ip", b"cf_connecting_ip", b"forwarded_for", b"content_length"]
)
def test_what_forwarding_drops_is_refused_with_an_underscore(name: bytes) -> None:
    """A reverse proxy writes and drops the name with a dash; a CGI-like backend cannot tell the two apart."""
    found = told(b"/open/a", b"GET", (name, b"192.0.2.1"))
    assert (Problem.BAD_REQUEST, f"the field {name.decode()} may not go to a backend") == refusal(found)
    for other in (b"x-real-ip", b"cf-connecting-ip", b"x_page", b"x_remote_user"):
        assert isinstance(told(b"/api/a", b"GET", (other, b"192.0.2.1")).verdict, Admitted)


def test_a_field_that_is_written_from_claims_is_no_clients() -> None:
    """The reverse proxy may leave the client's own, where the claim says nothing, or on another route."""
    for path in (b"/claims/a", b"/public/a"):
        for name in (b"x_tenant", b"x-tenant"):
            found = told(path, b"GET", (name, b"acme"))
            why = f"the field {name.decode()} may not go to a backend"
            assert (Problem.BAD_REQUEST, why) == refusal(found)
    assert isinstance(told(b"/api/a", b"GET", (b"x_tenant", b"acme")).verdict, Admitted)


@pytest.mark.requirement("S-01")
@pytest.mark.parametrize(
    "field",
    [(b"sec-websocket-key", b"x"), (b"accept", b"Text/event-stream"), (b"accept", b"*/*, text/event-stream")],
)
def test_what_would_outlive_its_session_is_refused(field: Header) -> None:
    """A WebSocket and an event stream are for bff itself, unless no session or token has to do with them."""
    outlives = "a WebSocket or event stream, which has to end with its session or token"
    assert (Problem.BAD_REQUEST, outlives) == refusal(told(b"/api/a", b"GET", field))
    assert (Problem.BAD_REQUEST, outlives) == refusal(brought(field))
    assert isinstance(brought((b"accept", b"*/*")).verdict, Admitted)
    assert isinstance(told(b"/open/a", b"GET", field).verdict, Admitted)
    assert isinstance(told(b"/api/a", b"GET", (b"accept", b"text/html, */*")).verdict, Admitted)


def test_a_field_that_the_route_passes_is_no_reason() -> None:
    """`pass_request_headers` counts here as well, and so does what a reverse proxy says of itself."""
    found = told(
        b"/api/a", b"GET", (b"x-remote-user", b"kim"), (b"x-forwarded-port", b"443"), (b"x-real-ip", b"::1")
    )
    assert isinstance(found.verdict, Admitted)


@pytest.mark.parametrize("host", [b"evil.example", b"app.example.com:8443", b"app.example.com, evil.example"])
def test_another_host_is_refused(host: bytes) -> None:
    """One origin is served, whoever asks for it."""
    assert (Problem.WRONG_HOST, "host") == refusal(asked(*FORWARDED, (b"x-forwarded-host", host)))


def test_the_host_of_a_reverse_proxy_is_not_the_browsers() -> None:
    """A question by another name needs the browser's own; without any there is none."""
    by_name = [(b"host", b"bff:8080"), CSRF, *FORWARDED]
    question = RequestHead(b"GET", b"/bff/forward-auth", b"", Fields(by_name), "192.0.2.7")
    assert (Problem.WRONG_HOST, "host") == refusal(ASKING.judge(question))
    with_host = Fields([*by_name, (b"x-forwarded-host", b"app.example.com")])
    assert isinstance(ASKING.judge(question._replace(fields=with_host)).verdict, Admitted)
    assert (Problem.WRONG_HOST, "host") == refusal(ASKING.judge(question._replace(fields=Fields(FORWARDED))))


@pytest.mark.parametrize(
    ("problem", "found"),
    [
        (Problem.NO_ROUTE, told(b"/elsewhere")),
        (Problem.NO_ROUTE, told(b"/API/orders")),
        (Problem.NO_ROUTE, told(b"/bff/user")),
        (Problem.METHOD_NOT_ALLOWED, told(b"/api/orders", b"OPTIONS")),
        (Problem.CSRF_REJECTED, told(b"/api/orders", b"GET", (b"sec-fetch-site", b"cross-site"))),
        (Problem.CSRF_REJECTED, told(b"/api/orders", b"GET", (b"origin", b"https://evil.example"))),
        (Problem.CSRF_REJECTED, told(b"/api/orders", b"GET", CSRF)),
    ],
)
def test_the_rules_of_forwarded_calls(problem: Problem, found: Asked) -> None:
    """Routes, methods and the guard are those of a forwarded call."""
    assert problem == refusal(found)[0]


def test_a_route_without_sign_in() -> None:
    """No session is looked up for it."""
    assert Admitted(BY_PATH[b"/open"], b"/a", signed=False) == told(b"/open/a").verdict


@pytest.mark.parametrize(
    ("reason", "secrets"),
    [
        (None, [b"one"]),
        (None, [b"two"]),
        ("secret_missing", []),
        ("secret_wrong", [b"three"]),
        ("secret_wrong", [b""]),
        ("secret_repeated", [b"one", b"one"]),
    ],
)
def test_the_proof_of_a_reverse_proxy(reason: str | None, secrets: list[bytes]) -> None:
    """One field with one of our secrets; without any of ours nothing is a proof."""
    fields = [HOST, *((SECRET, secret) for secret in secrets)]
    question = RequestHead(b"GET", FORWARD_AUTH, b"", Fields(fields), "192.0.2.1")
    assert reason == no_proof(question, [digest_of(b"one"), digest_of(b"two")])
    assert no_proof(question, []) is not None
