"""Which headers pass: pairs of header lists."""

from typing import Any

import pytest

from bff.policy.fields import Fields, Header
from bff.policy.header_rules import HeaderRules, RequestIds
from bff.policy.public_origin import PublicOrigin
from bff.settings.model import RouteSettings

IDS = RequestIds(
    client="1.2.3.4", request_id=b"req-12345", traceparent=b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"
)
TRACE = (b"traceparent", IDS.traceparent)
OURS: list[Header] = [
    (b"x-forwarded-for", b"1.2.3.4"),
    (b"forwarded", b"for=1.2.3.4;host=app.example.com;proto=https"),
    (b"x-forwarded-host", b"app.example.com"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-prefix", b"/api"),
    (b"x-request-id", b"req-12345"),
    TRACE,
]
NOSNIFF = (b"x-content-type-options", b"nosniff")
SANDBOX = (b"content-security-policy", b"sandbox")
NO_STORE = (b"cache-control", b"private, no-store")


def h(text: str) -> list[Header]:
    """Headers as one line: `name: value | name: value`."""
    pairs = [field.split(": ", 1) for field in text.split(" | ")]
    return [(name.encode(), value.encode()) for name, value in pairs]


def rules(public_url: str = "https://app.example.com", **route: Any) -> HeaderRules:
    settings = RouteSettings(path="/api", upstream="http://x", **route)
    return HeaderRules.compiled(settings, PublicOrigin.parse(public_url), b"x-csrf")


@pytest.mark.requirement("B-12", "B-14", "B-15", "H-01")
@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ([], []),
        (h("accept: */* | x-own: 1 | accept: a"), h("accept: */* | x-own: 1 | accept: a")),
        (h('if-none-match: "a" | range: bytes=0-'), h('if-none-match: "a" | range: bytes=0-')),
        (h("connection: keep-alive | keep-alive: 5 | te: trailers | trailer: x"), []),
        (h("transfer-encoding: chunked | content-length: 5 | host: x | expect: 100-continue"), []),
        (h("upgrade: h2c | http2-settings: x | proxy-authorization: x | proxy-connection: x"), []),
        (h("connection: x-own, Accept | x-own: 1 | accept: 1 | x-other: 2"), h("x-other: 2")),
        (
            h("connection: authorization, x-forwarded-for | connection: forwarded,traceparent,x-request-id"),
            [],
        ),
        (h("cookie: bff=x; theme=dark"), []),
        (h("authorization: Basic x | x-csrf: 1 | x_csrf: 1 | x-csrf_: 1"), h("x-csrf_: 1")),
        (h("forwarded: for=6 | x-forwarded-for: 6 | x-forwarded-host: 6 | x-forwarded-proto: 6"), []),
        (h("x-forwarded-port: 6 | x-forwarded-prefix: 6 | x-real-ip: 6 | x-request-id: 6"), []),
        (h("x_forwarded_for: 6 | x-forwarded_host: 6 | x_real_ip: 6 | x_request_id: 6"), []),
        (h("x-http-method-override: 6 | x_http_method_override: 6 | x-method-override: 6"), []),
        (h("x-original-url: 6 | x_rewrite_url: 6 | bff-retry: 1 | bff_upstream: 1"), []),
        (h("content_length: 6 | transfer_encoding: chunked | proxy_x: 1"), []),
        (h("traceparent: bad | tracestate: a=1"), []),
        (h("user_name: kept"), h("user_name: kept")),
    ],
)
def test_request(sent: list[Header], passed: list[Header]) -> None:
    """What the proxy sets cannot come from a client, in no spelling and by no nomination; the rest passes."""
    assert [*passed, *OURS] == rules().request(Fields(sent), IDS)


def test_no_bearer() -> None:
    """Without a session the client's own Authorization does not pass either, and none is set."""
    assert OURS == rules(auth="none").request(Fields([(b"authorization", b"Bearer mine")]), IDS)


def test_tracestate_goes_with_its_traceparent() -> None:
    """A trace context that was taken over keeps its state; a new one starts without."""
    assert [*OURS, (b"tracestate", b"a=1")] == rules().request(Fields([TRACE, (b"tracestate", b"a=1")]), IDS)


@pytest.mark.requirement("B-14")
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"theme=dark; __Host-Http-bff=x; a=b", [(b"cookie", b"theme=dark; a=b")]),
        (b"__Host-Http-bff=x; bff-tx-1=y", []),
    ],
)
def test_kept_cookies(sent: bytes, kept: list[Header]) -> None:
    """A route that keeps cookies gets the others' only."""
    assert [*kept, *OURS] == rules(keep_cookies=True).request(Fields([(b"cookie", sent)]), IDS)


@pytest.mark.requirement("B-34", "H-01", "H-05")
@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ([], []),
        (
            h('content-type: a/b | content-encoding: br | etag: "x"'),
            h('content-type: a/b | content-encoding: br | etag: "x"'),
        ),
        (h("content-length: 5 | x-own: 1 | vary: a"), h("content-length: 5 | x-own: 1 | vary: a")),
        (h("transfer-encoding: chunked | trailer: x | connection: close | upgrade: h2"), []),
        (h("connection: x-own, content-length | x-own: 1 | content-length: 5"), h("content-length: 5")),
        (h("connection: cache-control, content-security-policy, x-content-type-options"), []),
        (h("set-cookie: bff=x | set-cookie: a=b | set-cookie: __host-http-BFF-tx-1=x"), h("set-cookie: a=b")),
        (h("access-control-allow-origin: * | access-control-allow-credentials: true"), []),
        (h('clear-site-data: "*" | service-worker-allowed: / | bff-upstream: 1'), []),
        (h("alt-svc: x | nel: x | date: x | server: x | strict-transport-security: x"), []),
        (h("x-accel-redirect: /x | x-sendfile: /x | proxy-authenticate: x"), []),
        (h("cache-control: public | expires: x | pragma: x | cdn-cache-control: public"), []),
        (h("content-security-policy: script-src 'self'"), h("content-security-policy: script-src 'self'")),
        (h("x-content-type-options: off | www-authenticate: Bearer"), h("www-authenticate: Bearer")),
    ],
)
def test_response(sent: list[Header], passed: list[Header]) -> None:
    """A backend's answer passes, but cannot open the origin, be cached, or touch our cookies."""
    assert [*passed, NOSNIFF, SANDBOX, NO_STORE] == rules().response(200, sent)


@pytest.mark.requirement("H-05")
@pytest.mark.parametrize(("status", "kept"), [(200, True), (304, True), (204, False), (404, True)])
def test_content_length(status: int, kept: bool) -> None:
    """The length survives, 304 and answers to HEAD included; 204 has none."""
    length = (b"content-length", b"7")
    assert kept is (length in rules().response(status, [length]))


@pytest.mark.requirement("B-34")
@pytest.mark.parametrize(
    ("route", "sent", "passed"),
    [
        ({"html": True}, [], [NOSNIFF, NO_STORE]),
        ({"auth": "none"}, [], [NOSNIFF, SANDBOX]),
        ({"auth": "none"}, h("cache-control: public"), [(b"cache-control", b"public"), NOSNIFF, SANDBOX]),
        ({"auth": "optional"}, h("cache-control: public"), [NOSNIFF, SANDBOX, NO_STORE]),
        (
            {"allow_cache": True},
            h("cache-control: max-age=9"),
            [(b"cache-control", b"max-age=9"), NOSNIFF, SANDBOX],
        ),
        ({"allow_cache": True}, h("etag: x"), [(b"etag", b"x"), NOSNIFF, SANDBOX, NO_STORE]),
        (
            {"allow_cache": True},
            h("cache-control: public | connection: Cache-Control"),
            [NOSNIFF, SANDBOX, NO_STORE],
        ),
    ],
)
def test_response_by_route(route: dict[str, Any], sent: list[Header], passed: list[Header]) -> None:
    """An answer made for one user is stored nowhere unless route and backend both allow it."""
    assert passed == rules(**route).response(200, sent)


def test_fields_that_come_again_pass_alike_on_each_route() -> None:
    """What is kept with the fields is the route's own, and is not changed by what is added to it."""
    fields = Fields(
        [(b"accept", b"*/*"), (b"cookie", b"theme=dark"), (b"connection", b"close, x-hop"), (b"x-hop", b"1")]
    )
    for _ in range(2):
        assert [(b"accept", b"*/*"), *OURS] == rules().request(fields, IDS)
    other = HeaderRules.compiled(
        RouteSettings(path="/other", upstream="http://b", keep_cookies=True),
        PublicOrigin.parse("https://app.example.com"),
        b"x-csrf",
    )
    assert (b"cookie", b"theme=dark") in other.request(fields, IDS)


def test_a_connection_that_nominates_nothing() -> None:
    """`keep-alive, close` are orders, no fields: all passes."""
    fields = Fields([(b"accept", b"*/*"), (b"connection", b"keep-alive, close")])
    assert (b"accept", b"*/*") in rules().request(fields, IDS)


def test_what_is_remembered_of_names_is_bounded() -> None:
    """A name gets the same verdict each time; names that never come again, and long ones, do not pile up."""
    names = rules().to_backend
    for _ in range(2):
        assert (True, False) == (names.stops(b"x_forwarded_for"), names.stops(b"x-own"))
    for number in range(3000):
        assert not names.stops(b"x-own-%d" % number)
    assert 1024 >= len(names._known)
    long = b"y" * 65
    assert not names.stops(long)
    assert long not in names._known
    assert names.stops(b"x-forwarded-for")


def test_an_answers_lines_fare_alike_where_the_key_is_equal() -> None:
    """Routes of the same rules have one key, wherever they lead; each rule about lines tells them apart."""
    usual = rules().answer_key()
    assert usual == rules(keep_cookies=True, map_locations=False).answer_key()
    for otherwise in ({"pass_response_headers": ["x-powered-by"]}, {"auth": "none"}, {"allow_cache": True}):
        assert usual != rules(**otherwise).answer_key()


@pytest.mark.parametrize(
    ("looked_into", "name"), [(True, b"location"), (True, b"set-cookie"), (False, b"etag")]
)
def test_which_lines_are_looked_into(looked_into: bool, name: bytes) -> None:
    """Redirects and cookies are judged by the route's own settings: their lines are remembered for nobody."""
    assert looked_into == HeaderRules.looks_into(name)


def test_which_fields_pass() -> None:
    """Usual fields and an application's own pass; what the proxy sets does not, in any spelling."""
    names = (b"accept", b"x-own", b"x-forwarded-for", b"x_forwarded_for", b"authorization")
    assert [True, True, False, False, False] == [rules().passes_on(name) for name in names]
