"""What is prepared for plain calls: exactly the head that the long way would send, and never much of it."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.app import App
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Fields
from bff.proxy.forward.context import ForwardingContext
from bff.proxy.forward.credentials import Anonymous, Signed
from bff.proxy.forward.fast_path import RequestTemplate, prepare
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.upstream_request import outgoing
from bff.proxy.server import head_cache as known_fields
from bff.proxy.server.head_cache import CachedFields, HeadCache
from bff.proxy.upstream.fair_queue import Holder
from bff.proxy.upstream.interfaces import Header
from bff.proxy.upstream.request_writer import request_head
from bff.session.model import Tokens
from bff.session.sessions import Found
from bff.settings.model import Settings
from tests.session.sample import NOW, sample_session
from tests.support.settings import KEY

HOST = (b"host", b"app.example.com")
CSRF = (b"x-csrf", b"1")


class Bench:
    """The parts of a proxy that nobody has started: there is nothing to wait for in here."""

    def __init__(self) -> None:
        self.now = NOW
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
                        route,
                        {**route, "path": "/open", "auth": "none", "keep_cookies": True},
                    ],
                }
            ),
            clock=lambda: self.now,
        )
        self.parts: ForwardingContext = self.app._forwarding.parts

    def request(
        self, headers: list[Header], method: bytes = b"GET", path: bytes = b"/api/x", query: bytes = b""
    ) -> RequestHead:
        return RequestHead(method, path, query, Fields([HOST, CSRF, *headers]), "192.0.2.1", 0)

    def admitted(self, request: RequestHead) -> Admitted:
        verdict = self.app._forwarding.admit(request)
        assert isinstance(verdict, Admitted)
        return verdict

    def prepared(self, request: RequestHead) -> RequestTemplate[bytes] | None:
        admitted = self.admitted(request)
        answers = self.parts.destinations[admitted.route.path].wire_answers
        return prepare(self.parts, request, admitted, answers)

    def learn(self, heads: HeadCache[bytes], known: CachedFields[bytes], path: bytes) -> None:
        """A call with these fields to this path."""
        request = RequestHead(b"GET", path, b"", known.fields, "192.0.2.1", 0)
        admitted = self.admitted(request)
        answers = self.parts.destinations[admitted.route.path].wire_answers
        client: Any = None  # not spoken to
        exchange = ForwardedCall(self.parts, request, admitted, client)
        heads.learn(known, b"GET %b HTTP/1.1" % path, self.parts, exchange, answers)


BENCH = Bench()


def found(token: str = "the.access.token", **changes: Any) -> Found:
    tokens = Tokens(token, obtained_at=NOW, access_expires_at=NOW + 300, refresh_token="r")
    return Found("handle", sample_session(**{"tokens": tokens, **changes}))


def lines(head: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The request line, the fields whatever their order, and what follows them."""
    fields, end, rest = head.partition(b"\r\n\r\n")
    first, *others = fields.split(b"\r\n")
    return first, sorted(others), end + rest


NAMES = st.sampled_from(
    b"accept,user-agent,cookie,connection,te,x-own,x_own,x-forwarded-for,x-forwarded-host,forwarded,authorization,"
    b"x-http-method-override,proxy-authorization,bff-x,bff_x,keep-alive,x_csrf,content-type,upgrade,expect,"
    b"content-length".split(b",")
)
VALUES = st.sampled_from(
    [b"1", b"", b"a=b; bff=x; __Host-Http-bff=y", b"x-own, close", b"198.51.100.7", b"Bearer forged", b"0"]
)


@pytest.mark.requirement("H-01", "B-14", "B-15", "B-17")
@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"]),
    st.sampled_from([b"/api", b"/api/x", b"/api/a%20b", b"/open/x"]),
    st.sampled_from([b"", b"q=1&r=%2f"]),
    st.booleans(),
)
def test_a_prepared_head_is_that_of_the_long_way(
    headers: list[Header], method: bytes, path: bytes, query: bytes, signed: bool
) -> None:
    """Whatever a client sends: the same request line, and field for field the same head."""
    request = BENCH.request(headers, method, path, query)
    prepared = BENCH.prepared(request)
    admitted = BENCH.admitted(request)
    rules = BENCH.parts.destinations[admitted.route.path].rules
    digits = BENCH.parts.hop.draw()
    credential = Signed(found()) if signed and admitted.signed else Anonymous()
    long = outgoing(request, admitted, BENCH.parts.hop.made(request, digits), credential, rules, at_hand=True)
    assert prepared is not None
    prepared.connection_for(credential.found if isinstance(credential, Signed) else None)
    assert lines(request_head(long)) == lines(prepared.head(digits))


@pytest.mark.parametrize(
    "request_",
    [
        BENCH.request([], b"HEAD"),
        BENCH.request([])._replace(body_length=1),
        BENCH.request([])._replace(body_length=None),
        BENCH.request([(b"x-request-id", b"abc")]),
        BENCH.request([(b"traceparent", b"x")]),
        BENCH.request([(b"tracestate", b"x")]),
    ],
)
def test_what_no_two_calls_have_in_common_is_not_prepared(request_: RequestHead) -> None:
    """HEAD, a body, ids of the client's own: each goes the long way."""
    assert BENCH.prepared(request_) is None


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
def test_a_token_that_would_split_the_head_is_not_sent(token: str) -> None:
    """It is the long way's to refuse."""
    prepared = BENCH.prepared(BENCH.request([(b"cookie", b"__Host-Http-bff=x")]))
    assert prepared is not None
    assert prepared.connection_for(found(token)) is None
    assert -float("inf") == prepared._until


@pytest.mark.requirement("B-33")
def test_no_token_is_kept_beyond_its_session() -> None:
    """Once the session is not found any more its token is in no head, and there is no call to be made."""
    prepared = BENCH.prepared(BENCH.request([(b"cookie", b"__Host-Http-bff=x")]))
    assert prepared is not None
    digits = BENCH.parts.hop.draw()
    prepared.connection_for(found())
    assert b"authorization: Bearer the.access.token\r\n" in prepared.head(digits)
    prepared.connection_for(found("another"))
    assert b"the.access.token" not in prepared.head(digits)
    prepared.connection_for(None)
    assert b"authorization" not in prepared.head(digits)
    assert -float("inf") == prepared._until


@pytest.mark.parametrize(
    ("session", "until"),
    [
        (found(), 60.0),  # then its use is to be written down
        (found(ends=NOW + 40), 40.0),
        (found(tokens=Tokens("t", NOW, NOW + 30)), 30.0),
        (found(tokens=Tokens("t", NOW, None)), 60.0),
    ],
)
def test_calls_are_plain_until_there_is_something_to_do(session: Found, until: float) -> None:
    """A slide, the end of token or session: from that very moment each call goes the long way."""
    prepared = BENCH.prepared(BENCH.request([(b"cookie", b"__Host-Http-bff=x")]))
    assert prepared is not None
    asked: list[bool] = []

    class Pool:
        def holder(self, _: str) -> Holder:
            return Holder()

        def acquire_nowait(self, _: Holder) -> None:
            asked.append(True)

    prepared._pool = Pool()  # type: ignore[assignment] # it says whether a connection would be taken
    try:
        for after, taken in ((0.0, 1), (until - 0.001, 2), (until, 2), (until + 1000, 2)):
            BENCH.now = NOW + after
            prepared.connection_for(session)
            assert taken == len(asked), after
    finally:
        BENCH.now = NOW


def test_what_is_prepared_is_bounded() -> None:
    """However many and however long the heads that somebody sends, little is kept of them."""
    heads = HeadCache[bytes]()
    small = heads.add("192.0.2.1", b"GET / HTTP/1.1\r\nhost: app.example.com\r\n\r\n", Fields([HOST, CSRF]))
    for number in range(3 * known_fields._MOST_LINES):
        for _ in range(2):
            BENCH.learn(heads, small, b"/api/%d" % number)
    assert 0 < len(small.prepared) <= known_fields._MOST_LINES
    assert any(small.prepared.values())
    for number in range(known_fields._MOST_HEADS + 10):
        heads.add("192.0.2.1", b"GET / HTTP/1.1\r\nx: %d\r\n\r\n" % number, small.fields)
    assert known_fields._MOST_HEADS == len(heads._known)


@pytest.mark.parametrize(("fields", "path"), [(30_000, 1), (1, 8_000)])
def test_nothing_is_prepared_for_long_heads(fields: int, path: int) -> None:
    """Whether it is the fields or the line that is long: no connection and no process keeps much."""
    heads = HeadCache[bytes]()
    tracemalloc.start()
    kept = []
    for number in range(10):
        big = [HOST, CSRF, (b"x-big", b"%d" % number + b"v" * fields)]
        raw = b"\r\n" + b"".join(b"%b: %b\r\n" % header for header in big) + b"\r\n"
        known = heads.add("192.0.2.1", b"GET / HTTP/1.1" + raw, Fields(big))
        kept.append(known)  # as their connections do
        for line in range(known_fields._MOST_LINES):
            for _ in range(2):
                BENCH.learn(heads, known, b"/api/%d/" % line + b"p" * path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10 * 200_000
