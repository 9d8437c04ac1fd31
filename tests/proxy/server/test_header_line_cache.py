"""Header lines that repeat: read once, never more leniently than by the parser; nobody is told from them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.policy.request_limits import RequestLimits
from bff.proxy.server import header_line_cache
from bff.proxy.server.header_line_cache import LineCache, PlainRequest
from bff.proxy.server.refusal import Refusal
from bff.proxy.server.request_parser import RequestParser
from bff.settings.model import ServerSettings
from tests.support import corpus

LIMITS = RequestLimits.configured(ServerSettings(public_url="https://app.example.com"))
DROPPED = frozenset({b"authorization", b"forwarded", b"x-real-ip", b"x-csrf", b"keep-alive", b"te"})
START = b"GET /api/x HTTP/1.1\r\nHost: app.example.com\r\n"


def cache() -> LineCache:
    return LineCache(limits=LIMITS, csrf_header=b"x-csrf", passes=lambda name: name not in DROPPED)


OLD = cache()
"""One that has seen everything: what it remembers must not change a verdict."""


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
    return request.method, request.path, request.query, request.fields(), request.body


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
LINES = st.sampled_from(
    [
        b"GET /api/x HTTP/1.1",
        b"GET /api/x?a=b HTTP/1.1",
        b"POST /api/x HTTP/1.1",
        b"HEAD / HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET http://app.example.com/ HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"helloGET /a HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
    ]
)


@pytest.mark.requirement("H-02")
@given(
    LINES,
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    st.sampled_from(
        [b"", b"hi", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n", b"Accept: 1\r\n\r\n", START + b"\r\n"]
    ),
)
def test_what_is_read_is_what_the_parser_reads(
    line: bytes, fields: list[tuple[bytes, bytes]], rest: bytes
) -> None:
    """Whatever stands in a head: the cache reads it as the request parser does, or leaves it to that."""
    data = b"\r\n".join([line, b"Host: app.example.com", *(b"%b:%b" % field for field in fields), b"", rest])
    for lines in (cache(), OLD, OLD):
        request = lines.read(data)
        if request is not None:
            assert by_the_parser(data) == seen(request)


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("rest", [b"\r\n", b"\r\n\r\n", b"Accept: 1\r\n\r\n", START + b"\r\n"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: %d\r\n"])
def test_an_empty_line_further_back_is_not_the_heads_end(length: bytes, rest: bytes) -> None:
    """Bytes that end like a head and hold another end before: no line of the rest is taken for a field."""
    fields = length % len(rest) if length else b""
    request = cache().read(START + fields + b"\r\n" + rest)
    assert request is None or (rest, bool(length)) == (request.body, True)


REFUSED = json.loads((corpus.DATA / "refused_requests.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["name"])
def test_nothing_that_is_refused_is_read(case: dict[str, Any]) -> None:
    """No request of the corpus of refused ones is plain, seen for the first time or again."""
    data = case["request"].replace("HOST", "app.example.com").encode("latin-1")
    for _ in range(2):
        assert OLD.read(data) is None


@pytest.mark.requirement("B-24")
def test_nobody_can_be_told_from_what_is_kept() -> None:
    """Cookies, credentials, addresses, ids, pages and fields of an application's own leave nothing behind."""
    lines = cache()
    secrets = [
        b"Cookie: bff=SECRET",
        b"Authorization: Bearer SECRET",
        b"X-Forwarded-For: SECRET",
        b"X-Real-IP: SECRET",
        b"Forwarded: for=SECRET",
        b"X-Request-Id: SECRET-of-somebody",
        b"traceparent: SECRET",
        b"Referer: https://app.example.com/users/SECRET",
        b"If-None-Match: SECRET",
        b"X-User: SECRET",
        b"X-Api-Key: SECRET",
    ]
    for secret in secrets:
        assert lines.read(START + secret + b"\r\nAccept: */*\r\n\r\n") is not None
    kept = {**lines._young, **lines._old}
    assert {b"Host: app.example.com", b"Accept: */*"} == set(kept)
    assert b"SECRET" not in repr(kept).encode()


def test_what_is_kept_is_bounded_and_keeps_what_is_in_use() -> None:
    """However many lines somebody makes up, little is kept, and a line that comes again and again stays."""
    lines = cache()
    for number in range(3 * header_line_cache._MOST_LINES):
        assert lines.read(START + b"User-Agent: %d\r\nAccept: */*\r\n\r\n" % number) is not None
    assert len(lines) <= 2 * header_line_cache._MOST_LINES
    assert b"Accept: */*" in lines._young
    before = len(lines)
    assert lines.read(START + b"User-Agent: " + b"x" * 600 + b"\r\n\r\n") is not None
    assert before == len(lines)
