"""What is sent on the fast path: exactly what the whole forwarder would send, and only where it may be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.app import App
from bff.credentials.credential import Anonymous, Signed
from bff.policy.admission import Admitted, RequestHead, admit
from bff.policy.fields import Fields, Header
from bff.proxy.forward.fast_path import FastCall, FastPath
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.session.cached_session import CachedSession
from bff.session.model import Found, Tokens
from bff.settings.model import Settings
from bff.upstream.request_writer import request_head
from tests.session.sample import NOW, sample_session
from tests.support.settings import KEY

HOST = (b"host", b"app.example.com")
CSRF = (b"x-csrf", b"1")
COOKIE = (b"cookie", b"__Host-Http-bff=of-the-test")


class Connection:
    """A connection that takes what it is given."""

    closing = staticmethod(lambda: False)
    closed = False

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def carry(self, call: FastCall, head: bytes) -> None:
        del call
        self.sent.append(head)


class Harness:
    """The parts of a proxy that nobody has started, with a session in memory and an idle connection."""

    def __init__(self) -> None:
        self.now = NOW
        self.found: Found | None = found()
        self.connection = Connection()
        self.asked = 0
        route = {"path": "/api", "upstream": "http://127.0.0.1:1/v1"}
        self.app = App(
            Settings.model_validate(
                {
                    "server": {"public_url": "https://app.example.com", "trusted_proxies": ["192.0.2.0/24"]},
                    "redis": {"url": "redis://127.0.0.1:1/0"},
                    "session": {"keys": [KEY]},
                    "provider": {
                        "issuer": "https://id.example.com",
                        "client_id": "bff",
                        "client_secret": "secret-of-the-client",
                    },
                    "route": [
                        {**route, "replay_buffer": 64},
                        {**route, "path": "/open", "auth": "none", "keep_cookies": True},
                        {**route, "path": "/small", "max_body": 4},
                        {**route, "path": "/both", "auth": "session or bearer", "bearer_audience": "bff"},
                        {**route, "path": "/images", "csrf": "navigation", "methods": ["GET"]},
                    ],
                }
            ),
            clock=lambda: self.now,
        )
        self.context: ForwardingContext = self.app.frontend.forwarding.context
        self.path: FastPath = self.app.frontend.forwarding.fast_path
        for destination in self.context.destinations.values():
            destination.credentials.session._nearby = self  # nor is Redis
            destination.pool.acquire_nowait = self._acquire  # type: ignore[method-assign] # no backend is asked

    def _acquire(self, client: str | None = None) -> Any:
        del client
        self.asked += 1
        return self.connection

    def near(self, cookie: bytes) -> CachedSession | None:
        if self.found is None or cookie.count(b"__Host-Http-bff=") != 1:
            return None
        (credentials, *_) = (each.credentials.session for each in self.context.destinations.values())
        return CachedSession.of(self.found.handle, self.found.session, credentials.quiet_until(self.found))

    def begin(self, data: bytes) -> FastCall | None:
        request = self.app.in_force.lines.read(data)
        if request is None:
            return None
        return self.path.begin(request, "192.0.2.1", Any)  # type: ignore[arg-type] # it is not spoken to

    def sent(self, data: bytes) -> bytes | None:
        """What goes to the backend; None where it is not for the fast path."""
        call = self.begin(data)
        if call is None:
            return None
        call.send()
        return self.connection.sent[-1]

    def by_the_forwarder(self, request: RequestHead, digits: bytes) -> bytes | None:
        """The head that a whole call would send; None where it is refused."""
        forwarding = self.app.frontend.forwarding
        verdict = admit(request, forwarding.routes, forwarding.guard)
        if not isinstance(verdict, Admitted):
            return None
        destination = self.context.destinations[verdict.route.path]
        credential: Signed | Anonymous = Anonymous()
        if verdict.signed:
            assert self.found is not None
            credential = Signed(self.found)
        ids = self.context.request_ids.made(request, digits)
        return request_head(destination.request(request, verdict, ids, credential, at_hand=True))


def found(token: str = "the.access.token", **changes: Any) -> Found:
    tokens = Tokens(token, obtained_at=NOW, access_expires_at=NOW + 300, refresh_token="r")
    return Found("handle", sample_session(**{"tokens": tokens, **changes}))


HARNESS = Harness()


def raw(fields: list[Header], line: bytes = b"GET /api/x", body: bytes = b"") -> bytes:
    lines = [line + b" HTTP/1.1", *(b"%b: %b" % field for field in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def lines(head: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The request line, the fields whatever their order, and what follows them."""
    fields, end, rest = head.partition(b"\r\n\r\n")
    first, *others = fields.split(b"\r\n")
    return first, sorted(others), end + rest


NAMES = st.sampled_from(
    b"accept,user-agent,cookie,connection,te,x-own,x_own,x-forwarded-for,x-forwarded-host,forwarded,authorization,"
    b"x-http-method-override,proxy-authorization,bff-x,bff_x,keep-alive,x_csrf,content-type,x-request-id,"
    b"traceparent,origin,sec-fetch-site,x-real-ip,referer,if-none-match".split(b",")
)
VALUES = st.sampled_from(
    [
        b"1",
        b"",
        b"a=b; bff=x; __Host-Http-bff=y",
        b"keep-alive",
        b"198.51.100.7",
        b"Bearer forged",
        b"of-the-client-1",
        b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01",
        b"https://app.example.com",
        b"same-origin",
    ]
)


@pytest.mark.requirement("H-01", "B-14", "B-15", "B-17")
@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"]),
    st.sampled_from([b"/api", b"/api/x", b"/api/a%20b", b"/open/x", b"/images/1.png"]),
    st.sampled_from([b"", b"q=1&r=%2f"]),
    st.booleans(),
)
def test_what_is_sent_is_what_the_forwarder_sends(
    headers: list[Header], method: bytes, path: bytes, query: bytes, csrf: bool
) -> None:
    """Whatever a client sends: the same request line, and field for field the same head; or not at all."""
    fields = [HOST, COOKIE, *([CSRF] if csrf else []), *headers]
    if method != b"GET":
        fields.append((b"content-length", b"0"))
    target = path + (b"?" + query if query else b"")
    call = HARNESS.begin(raw(fields, method + b" " + target))
    if call is None:
        return
    call.send()
    request = RequestHead(method, path, query, Fields(fields), "192.0.2.1", 0)
    expected = HARNESS.by_the_forwarder(request, call._digits)
    assert expected is not None
    assert lines(expected) == lines(HARNESS.connection.sent[-1])


@pytest.mark.parametrize(
    "data",
    [
        raw([HOST, COOKIE, CSRF]),
        raw([HOST, COOKIE, CSRF, (b"accept", b"*/*"), (b"referer", b"https://app.example.com/a?b")]),
        raw([HOST, COOKIE, CSRF, (b"x-request-id", b"of-a-proxy-1"), (b"x-forwarded-for", b"198.51.100.7")]),
        raw([HOST, COOKIE, CSRF, (b"content-length", b"5")], b"POST /api/x", b"hello"),
        raw([HOST, COOKIE, CSRF], b"DELETE /api/x/7?really=1"),
        raw([HOST, COOKIE, CSRF, (b"authorization", b"Bearer x")]),
        raw([HOST, COOKIE, CSRF], b"GET /both/x"),
        raw([HOST, COOKIE, (b"sec-fetch-site", b"same-origin")], b"GET /images/7"),
        raw([HOST], b"GET /open/x"),
        raw([HOST, (b"content-length", b"1")], b"POST /open/x", b"x"),
    ],
)
def test_common_calls_are_on_the_fast_path(data: bytes) -> None:
    """A page's calls, a small body with them, no two alike: all are sent at once."""
    sent = HARNESS.sent(data)
    assert sent is not None
    assert data.partition(b"\r\n\r\n")[2] == sent.partition(b"\r\n\r\n")[2]


@pytest.mark.requirement("B-09", "B-12", "B-13", "B-32", "H-02")
@pytest.mark.parametrize(
    "data",
    [
        raw([HOST, COOKIE, CSRF], b"HEAD /api/x"),
        raw([HOST, COOKIE, CSRF], b"OPTIONS /api/x"),
        raw([HOST, COOKIE, CSRF], b"BREW /api/x"),
        raw([HOST, COOKIE, CSRF], b"DELETE /images/7"),  # a method that the route does not list
        raw([HOST, COOKIE, CSRF], b"GET /elsewhere"),
        raw([HOST, COOKIE, CSRF, (b"authorization", b"Bearer x")], b"GET /both/x"),
        raw([HOST, (b"Authorization", b"Basic x"), COOKIE, CSRF], b"GET /both/x"),
        raw([HOST, COOKIE, CSRF, (b"AUTHORIZATION", b"")], b"GET /both/x"),
        raw([HOST, COOKIE, CSRF], b"GET /bff/user"),
        raw([HOST, COOKIE, CSRF], b"GET /api/../x"),
        raw([HOST, COOKIE, CSRF], b"GET /api/%2e%2e/x"),
        raw([HOST, COOKIE, CSRF], b"GET http://app.example.com/api/x"),
        raw([HOST, COOKIE]),
        raw([HOST, CSRF]),
        raw([HOST, COOKIE, (b"x-csrf", b"2")]),
        raw([HOST, COOKIE, CSRF, CSRF]),
        raw([HOST, COOKIE, CSRF, (b"origin", b"null")]),
        raw([HOST, COOKIE, CSRF, (b"sec-fetch-site", b"same-site")]),
        raw([HOST, COOKIE, COOKIE, CSRF]),
        raw([HOST, (b"cookie", b"__Host-Http-bff=a; __Host-Http-bff=b"), CSRF]),
        raw([COOKIE, CSRF]),
        raw([HOST, HOST, COOKIE, CSRF]),
        raw([(b"host", b"evil.example"), COOKIE, CSRF]),
        raw([HOST, COOKIE, CSRF, (b"connection", b"close")]),
        raw([HOST, COOKIE, CSRF, (b"connection", b"x-own"), (b"x-own", b"1")]),
        raw([HOST, COOKIE, CSRF, (b"transfer-encoding", b"chunked")], b"POST /api/x", b"0\r\n\r\n"),
        raw(
            [HOST, COOKIE, CSRF, (b"expect", b"100-continue"), (b"content-length", b"1")],
            b"POST /api/x",
            b"x",
        ),
        raw([HOST, COOKIE, CSRF, (b"upgrade", b"websocket")]),
        raw(
            [HOST, COOKIE, CSRF, (b"content-length", b"5"), (b"content-length", b"5")],
            b"POST /api/x",
            b"hello",
        ),
        raw([HOST, COOKIE, CSRF, (b"content-length", b"+5")], b"POST /api/x", b"hello"),
        raw([HOST, COOKIE, CSRF, (b"content-length", b"6")], b"POST /api/x", b"hello"),
        raw([HOST, COOKIE, CSRF, (b"content-length", b"4")], b"POST /api/x", b"hello"),
        raw([HOST, COOKIE, CSRF, (b"content-length", b"65")], b"POST /api/x", b"x" * 65),  # beyond the buffer
        raw([HOST, COOKIE, CSRF, (b"content-length", b"5")], b"POST /small/x", b"hello"),  # beyond the limit
        raw([HOST, COOKIE, CSRF]) + raw([HOST, COOKIE, CSRF]),
        raw([HOST, COOKIE, CSRF])[:-1],
        raw([HOST, COOKIE, CSRF, (b"access-control-request-method", b"GET")]),
        raw([HOST, COOKIE, CSRF, (b"x-folded", b"a\r\n b")]),
        raw([HOST, COOKIE, CSRF, (b"x bad", b"a")]),
        raw([HOST, COOKIE, CSRF, (b"x-bad ", b"a")]),
        raw([HOST, COOKIE, CSRF, (b"x-nul", b"a\0b")]),
        raw([HOST, COOKIE, CSRF, (b"x-lf", b"a\nb: c")]),
        raw([HOST, COOKIE, CSRF, (b"x-cr", b"a\rb")]),
        raw([HOST, COOKIE, CSRF, (b"x-big", b"a" * 70_000)]),
        raw([HOST, COOKIE, CSRF, *[(b"x", b"%d" % n) for n in range(200)]]),
    ],
)
def test_what_is_not_plain_is_left_to_the_forwarder(data: bytes) -> None:
    """A refusal, a doubt, anything to wait for: nothing is sent, and no connection is taken."""
    for _ in range(2):
        asked = HARNESS.asked
        assert HARNESS.begin(data) is None
        assert asked == HARNESS.asked


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
def test_a_token_that_would_split_the_head_is_not_sent(token: str) -> None:
    """It is the forwarder's to refuse."""
    HARNESS.found = found(token)
    try:
        assert HARNESS.begin(raw([HOST, COOKIE, CSRF])) is None
    finally:
        HARNESS.found = found()


@pytest.mark.requirement("B-33")
def test_each_call_goes_with_the_token_of_its_moment() -> None:
    """Newer tokens are taken at once, and where the session is gone there is no call."""
    data = raw([HOST, COOKIE, CSRF])
    try:
        for token in ("one", "two", "one"):
            HARNESS.found = found(token)
            assert b"authorization: Bearer %b\r\n" % token.encode() in (HARNESS.sent(data) or b"")
        HARNESS.found = None
        assert HARNESS.begin(data) is None
    finally:
        HARNESS.found = found()


@pytest.mark.parametrize(
    ("session", "until"),
    [
        (found(), 60.0),  # then its use is to be written down
        (found(ends=NOW + 40), 40.0),
        (found(tokens=Tokens("t", NOW, NOW + 30)), 30.0),
        (found(tokens=Tokens("t", NOW, None)), 60.0),
    ],
)
def test_calls_are_fast_until_there_is_something_to_do(session: Found, until: float) -> None:
    """A slide, the end of token or session: from that very moment each call goes to the forwarder."""
    HARNESS.found = session
    try:
        for after, fast in ((0.0, True), (until - 0.001, True), (until, False), (until + 1000, False)):
            HARNESS.now = NOW + after
            assert fast is (HARNESS.begin(raw([HOST, COOKIE, CSRF])) is not None), after
    finally:
        HARNESS.now, HARNESS.found = NOW, found()


def test_the_lines_of_a_peers_calls_are_made_once() -> None:
    """A connection's own address is told to the backend by lines that are kept; a forwarded one's are not."""
    harness = Harness()
    routes = harness.path._by_number
    route = next(each.shared for each in routes if each and each.shared.name == "/api")
    for _ in range(2):
        sent = harness.sent(raw([HOST, COOKIE, CSRF]))
        assert sent is not None
        assert b"\r\nx-forwarded-for: 192.0.2.1\r\n" in sent
    sent = harness.sent(raw([HOST, COOKIE, CSRF, (b"x-forwarded-for", b"198.51.100.7")]))
    assert sent is not None
    assert b"\r\nx-forwarded-for: 198.51.100.7\r\n" in sent
    assert ["192.0.2.1"] == list(route.of_peers)
    for number in range(1000):
        route.direct(f"10.0.{number // 250}.{number % 250}")
    assert len(route.of_peers) <= 256
