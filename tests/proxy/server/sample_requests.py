"""Requests as the line cache and the request parser read them, and parts of which they are made."""

from typing import Any

from hypothesis import strategies as st

from bff.policy.request_limits import RequestLimits
from bff.policy.request_refusal import Refusal
from bff.proxy.server.header_line_cache import LineCache
from bff.proxy.server.plain_request import PlainRequest
from bff.proxy.server.request_parser import RequestParser
from bff.settings.model import ServerSettings

LIMITS = RequestLimits.configured(ServerSettings(public_url="https://app.example.com"))
DROPPED = frozenset({b"authorization", b"forwarded", b"x-real-ip", b"x-csrf", b"keep-alive", b"te"})
START = b"GET /api/x HTTP/1.1\r\nHost: app.example.com\r\n"


OF_SEVERAL = RequestLimits.configured(
    ServerSettings(public_url="https://app.example.com"),
    hosts=frozenset({b"app.example.com", b"app.example.com:443", b"other.example.com"}),
)


def cache(limits: RequestLimits = LIMITS) -> LineCache:
    return LineCache(limits=limits, csrf_header=b"x-csrf", passes=lambda name: name not in DROPPED)


def by_the_parser(data: bytes) -> Any:
    """Method, target, fields and body of the one request that these bytes are; None where it is refused."""
    try:
        found = RequestParser(LIMITS).feed(data)
    except Refusal:
        return None
    if found is None:
        return None
    head, rest = found
    plain = head.keep_alive and not (head.http_1_0 or head.expects_continue or head.upgrade)
    if not plain or len(rest) != head.length:
        return None
    return head.method, head.path, head.query, head.fields, rest


def seen(request: PlainRequest) -> Any:
    return request.method, request.path, request.query, request.head().fields, request.body


NAMES = st.sampled_from(
    b"Accept,accept,User-Agent,Cookie,Connection,TE,X-Own,x_own,X-Forwarded-For,Authorization,X-CSRF,Origin,"
    b"Sec-Fetch-Site,Content-Length,Transfer-Encoding,Expect,Upgrade,Host,X-Request-Id,traceparent,tracestate,"
    b"X Bad,X-Bad ,,X\xe9,:,Access-Control-Request-Method".split(b",")
)
VALUES = st.one_of(
    st.sampled_from(
        [
            b"",
            b"1",
            b"2",
            b" 2\t",
            b"close",
            b"keep-alive",
            b"chunked",
            b"app.example.com",
            b"evil",
            b"a\r\n b",
        ]
    ),
    st.binary(max_size=6),
)
A_BROWSER = [
    b"User-Agent: A",
    b"Accept: */*",
    b"Sec-Fetch-Site: same-origin",
    b"Accept-Language: en",
    b"X-CSRF: 1",
]


def request_of(fields: list[bytes], start: bytes = START) -> bytes:
    return start + b"".join(b"%b\r\n" % field for field in fields) + b"\r\n"


def as_read(request: PlainRequest | None) -> Any:
    assert request is not None
    return seen(request), request.guarded, request.place.host, request.cookie, b"".join(request.outgoing)
