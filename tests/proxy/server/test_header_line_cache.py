"""Header lines that repeat: read once, never more leniently than by the parser; nobody is told from them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.policy.request_limits import RequestLimits
from bff.proxy.server import header_line_cache
from bff.proxy.server.header_line_cache import LineCache
from tests.proxy.server.sample_requests import (
    A_BROWSER,
    LIMITS,
    NAMES,
    OF_SEVERAL,
    START,
    VALUES,
    as_read,
    by_the_parser,
    cache,
    request_of,
    seen,
)
from tests.support import corpus

OLD, OLD_OF_SEVERAL = cache(), cache(OF_SEVERAL)
"""Those that have seen everything: what they remember must not change a verdict."""


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
    for lines in (cache(), OLD, OLD, OLD_OF_SEVERAL, OLD_OF_SEVERAL):
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
    for secret in (*secrets, *secrets):
        assert lines.read(START + secret + b"\r\nAccept: */*\r\n\r\n") is not None
        assert lines.read(START + b"Accept: */*\r\n" + secret + b"\r\n\r\n") is not None
    kept = {**lines._young, **lines._old}
    assert lines._blocks[b"GET"]
    assert b"SECRET" not in repr(lines._blocks).encode()
    assert {b"Host: app.example.com", b"Accept: */*"} == set(kept)
    assert b"SECRET" not in repr(kept).encode() + repr(lines._proxy_lines.match).encode()


def test_what_is_kept_is_bounded_and_keeps_what_is_in_use() -> None:
    """However many lines somebody makes up, little is kept, and a line that comes again and again stays."""
    lines = cache()
    for number in range(3 * header_line_cache._MOST_LINES):
        assert lines.read(START + b"User-Agent: %d\r\nAccept: */*\r\n\r\n" % number) is not None
    assert len(lines._young) + len(lines._old) <= 2 * header_line_cache._MOST_LINES
    assert b"Accept: */*" in {**lines._young, **lines._blocks[b"GET"]}
    before = {**lines._young, **lines._old}
    assert lines.read(START + b"User-Agent: " + b"x" * 600 + b"\r\n\r\n") is not None
    assert before == {**lines._young, **lines._old}


ANOTHER = [b"User-Agent: B", *A_BROWSER[1:3], b"Accept-Language: de", b"X-CSRF: 1"]


@pytest.mark.requirement("H-02")
def test_lines_in_a_block_are_read_as_single_ones() -> None:
    """Requests of several clients in turn, with other lines among theirs: each is read as by a new cache."""
    of_several = cache(OF_SEVERAL)
    lines = cache()
    made = [
        request_of([*A_BROWSER, b"Cookie: a=b", b"Referer: https://app.example.com/1"]),
        request_of([*ANOTHER, b"Cookie: a=b"]),
        request_of([*A_BROWSER[:3], b"Origin: https://app.example.com", *A_BROWSER[3:]]),
        request_of([*A_BROWSER[:2], b"X-Own: 1", *A_BROWSER[2:]]),
        request_of(A_BROWSER[2:]),
        request_of([]),
        request_of([*A_BROWSER, *A_BROWSER]),
        request_of(list(reversed(A_BROWSER)), START.replace(b"GET", b"DELETE")),
    ]
    for data in made * 4 + made[:1] * 4:
        alone = as_read(cache().read(data))
        assert alone == as_read(lines.read(data)) == as_read(of_several.read(data))


def test_lines_of_a_reverse_proxy_leave_the_blocks_whole() -> None:
    """Lines that differ with each request, between lines that all have: these are read as two blocks."""
    lines, request = cache(), None
    for number in range(4):
        own = [b"X-Forwarded-For: 192.0.2.%d" % number, b"X-Request-ID: 0123456%d" % number]
        request = lines.read(request_of([*own, *A_BROWSER, b"Cookie: a=%d" % number]))
    outgoing = b"user-agent: A\r\naccept: */*\r\nsec-fetch-site: same-origin\r\naccept-language: en\r\n"
    assert request is not None
    assert [outgoing] == [piece for piece in request.outgoing if piece]


@pytest.mark.requirement("P-01", "H-02")
def test_frontends_have_the_blocks_of_their_clients_in_common() -> None:
    """Of several hosts, the lines behind Host are kept once for the clients of all; Origin is not of them."""
    lines = cache(OF_SEVERAL)
    for _ in range(3):
        for host in (b"app.example.com", b"other.example.com"):
            start = b"GET /api/x HTTP/1.1\r\nHost: %b\r\n" % host
            origin = b"https://" + host
            request = lines.read(request_of([*A_BROWSER, b"Origin: " + origin, b"X-CSRF: 1"], start))
            assert request is not None
            assert (lines.places[host], origin) == (request.place, request.origin)
            assert all(name != b"origin" for name, _ in request.guarded)
    blocks = lines._blocks[b"GET"]
    one, other = (blocks[b"Host: " + host] for host in (b"app.example.com", b"other.example.com"))
    assert one[:3] == (request_of(A_BROWSER, b"")[:-2], one[1], other[2])
    assert all(mine is theirs for mine, theirs in zip(one[:3], other[:3], strict=True))
    assert not any(b"example.com" in block[0] for block in blocks.values())


@pytest.mark.requirement("H-02")
def test_a_block_is_found_by_whole_lines_alone() -> None:
    """A line that only begins like one of a block is another line."""
    lines = cache()
    for _ in range(3):
        assert lines.read(request_of(A_BROWSER)) is not None
    assert lines._blocks[b"GET"][b"Host: app.example.com"][0].endswith(b"X-CSRF: 1\r\n")
    for last in (b"X-CSRF: 12", b"X-CSRF: 1\r\r\n", b"X-CSRF: 1\n", b"X-CSRF: 1\r\n "):
        data = request_of([*A_BROWSER[:-1], last])
        request = lines.read(data)
        assert by_the_parser(data) == (None if request is None else seen(request))


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("host", [b"Host: app.example.com", b"host: app.example.com", b"Host: evil"])
def test_a_block_hides_no_second_host(host: bytes) -> None:
    """A request with two hosts is left to the parser, however well each of its lines is known."""
    for lines in (cache(), cache(OF_SEVERAL)):
        for _ in range(3):
            for fields in (A_BROWSER, [*A_BROWSER, host], [host, *A_BROWSER]):
                request = lines.read(request_of(fields))
                assert (request is None) is (host in fields)
            lines.read(request_of(A_BROWSER, START.replace(b"Host", b"host")))


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("limits", [LIMITS, OF_SEVERAL])
def test_a_block_hides_no_second_origin(limits: RequestLimits) -> None:
    """Nor is a request with two origins the fast path's."""
    lines, origin = cache(limits), b"Origin: https://app.example.com"
    for _ in range(3):
        assert lines.read(request_of([*A_BROWSER, origin])) is not None
        assert lines.read(request_of([origin, *A_BROWSER])) is not None
        for second in (origin, b"origin: https://evil.example.com"):
            assert lines.read(request_of([*A_BROWSER, origin, second])) is None
            assert lines.read(request_of([origin, *A_BROWSER, second])) is None


@pytest.mark.requirement("H-02")
def test_lines_of_blocks_are_counted() -> None:
    """A request of more fields than are taken is left to the parser, its lines known or not."""
    lines = cache()
    fields = [b"Accept: */*"] * (LIMITS.max_head_fields - 2)
    for _ in range(3):
        assert lines.read(request_of(fields)) is not None
        assert lines.read(request_of([*fields, *fields[:1]])) is None
        assert lines.read(request_of([*fields, *fields])) is None


@pytest.mark.requirement("H-02")
def test_lines_beyond_the_limit_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of thousands of lines costs no more than one of as many as are taken: the parser counts them."""
    lines, looked_at = cache(), list[bytes]()

    def judge_name(name: bytes) -> Any:
        looked_at.append(name)
        return LineCache._judge_name(lines, name)

    monkeypatch.setattr(lines, "_judge_name", judge_name)
    field = b"x" * (header_line_cache._LONGEST_NAME + 1) + b":\r\n"
    assert lines.read(START + field * 500 + b"\r\n") is None
    assert len(looked_at) <= LIMITS.max_head_fields


def test_names_that_somebody_makes_up_keep_no_place_from_others() -> None:
    """However many names of fields somebody has sent, few are kept, and the next ones still are."""
    lines = cache()
    for number in range(2 * header_line_cache._MOST_NAMES):
        assert lines.read(request_of([b"X-%d: 1" % number])) is not None
    assert lines.read(request_of([b"X-In-Use: 1"])) is not None
    assert b"X-In-Use" in lines._names
    assert len(lines._names) <= header_line_cache._MOST_NAMES


def test_blocks_are_bounded() -> None:
    """However many lines somebody makes up, few blocks are kept, of the lines that all clients share."""
    lines = cache()
    for number in range(2 * header_line_cache._MOST_BLOCKS):
        for _ in range(2):
            fields = [b"User-Agent: %d" % number, *A_BROWSER[1:], b"Accept: " + b"x" * 500] * 2
            assert lines.read(request_of(fields)) is not None
    blocks = lines._blocks[b"GET"]
    assert len(blocks) <= lines._most_blocks
    longest = header_line_cache._LONGEST_BLOCK + header_line_cache._LONGEST
    assert max(len(block[0]) for block in blocks.values()) <= longest
    assert b"" == blocks[b"Host: app.example.com"][0]


def test_what_hosts_have_in_common_is_bounded() -> None:
    """Blocks of as many spellings of hosts as somebody makes up leave as few lines behind."""
    lines = cache(OF_SEVERAL)
    most = header_line_cache._MOST_BLOCKS
    for number in range(2 * most):
        for _ in range(2):
            start = START.replace(b": ", b":" + b" " * (number % 400) + b"\t" * (number // 400))
            assert lines.read(request_of([b"User-Agent: %d" % number, *A_BROWSER[1:]], start)) is not None
    assert most // 2 < len(lines._tails) <= most
    assert len(lines._blocks[b"GET"]) <= most + 3
