"""Plain answers in the client's form: exactly what the header rules would have made of them, or nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bff.policy.fields import Header
from bff.policy.header_rules import HeaderRules
from bff.policy.intern_pool import InternPool
from bff.policy.public_origin import PublicOrigin
from bff.policy.streaming_responses import is_stream
from bff.proxy.forward.response_templates import PlainResponse, ResponseLines, ResponseTemplates
from bff.settings.model import RouteSettings
from bff.upstream.response_parser import MOST_PLAIN_FIELDS, MOST_PLAIN_HEAD, ResponseParser
from tests.support.corpus import answers, raw

PUBLIC = PublicOrigin.parse("https://app.example.com")
ROUTES: dict[str, dict[str, object]] = {
    "required": {},
    "cacheable": {"allow_cache": True},
    "optional": {"auth": "optional"},
    "open": {"auth": "none"},
    "html": {"html": True},
    "open and cacheable": {"auth": "none", "allow_cache": True},
    "with its cookies": {"keep_cookies": True},
    "as the backend says": {"keep_cookies": True, "map_cookies": False, "map_locations": False},
    "let through": {
        "auth": "none",
        "pass_request_headers": ["Authorization"],
        "pass_response_headers": ["Server"],
    },
}
RULES = {
    name: HeaderRules.compiled(
        RouteSettings.model_validate({"path": "/api", "upstream": "http://backend", **options}),
        PUBLIC,
        b"x-csrf",
    )
    for name, options in ROUTES.items()
}
POOL: InternPool[ResponseLines] = InternPool()
KEPT = {name: ResponseTemplates(rules, pool=POOL) for name, rules in RULES.items()}
"""One for each kind of route, as old as the tests: what it remembers must not change a verdict, nor what
another whose rules are equal remembers."""

Read = tuple[int, list[Header], bytes, int] | None

STATUS = b"HTTP/1.1 200 OK"


def parsed(response: PlainResponse | None) -> Read:
    """The same with its lines taken apart."""
    if response is None:
        return None
    status, lines, content, left = response
    assert all(line.endswith(b"\r\n") for line in lines)
    pairs = [line[:-2].split(b": ", 1) for line in lines]
    return status, [(name, value) for name, value in pairs], bytes(content), left


def read(name: str, data: bytes) -> Read:
    """An answer as the route of this name has it."""
    return parsed(KEPT[name].read(data))


JSON = b"Content-Type: application/json"


def answer(*lines: bytes, status: bytes = STATUS, content: bytes = b"ok", length: bytes = b"2") -> bytes:
    return b"\r\n".join([status, *lines, b"Content-Length: " + length, b"", content])


def the_long_way(rules: HeaderRules, data: bytes) -> Read:
    """What such an answer becomes by its header rules; None where it is not one that can be plain."""
    parser = ResponseParser()
    parser.feed(data)
    if parser.refusal is not None or not parser.head_done or not parser.persistent or parser.status == 401:
        return None
    if not parser.done and is_stream(parser.headers):
        return None
    headers, names = parser.headers, [name for name, _ in parser.headers]
    spoken = [value.lower() for name, value in headers if name == b"connection"]
    if any(value not in {b"", b"keep-alive"} for value in spoken) or len(headers) > MOST_PLAIN_FIELDS:
        return None
    bare = parser.status in {204, 304}
    if (
        parser.interim_seen
        or (b"content-length" not in names and not bare)
        or (b"content-length" in names and parser.status == 204)
        or (bare and b"" in _lengths(data))  # no length, and so no harm: the long way drops it
        or data.find(b"\r\n\r\n") > MOST_PLAIN_HEAD - 4
    ):
        return None
    passed, content = rules.response(parser.status, headers), b"".join(parser.chunks)
    lengths = [int(value) for name, value in headers if name == b"content-length"]
    return parser.status, passed, content, 0 if bare else lengths[0] - len(content)


def _lengths(data: bytes) -> list[bytes]:
    """The values of Content-Length as the backend wrote them."""
    fields = [line.partition(b":") for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return [value.strip(b" \t") for name, _, value in fields if name.lower() == b"content-length"]


def length_last(found: Read) -> Read:
    """The same with a length behind the other fields, where the parser has it if there is no content."""
    if found is None or found[0] not in {204, 304}:
        return found
    return found[0], sorted(found[1], key=lambda field: field[0] == b"content-length"), *found[2:]


def assert_alike(data: bytes) -> None:
    """On each kind of route, for an answer met first and met again."""
    for name, rules in RULES.items():
        expected = length_last(the_long_way(rules, data))
        assert expected == length_last(parsed(ResponseTemplates(rules).read(data))), name
        assert expected == length_last(read(name, data)), name
        assert expected == length_last(read(name, data)), name


NAMES = st.sampled_from(
    b"Content-Type,ETAG,Set-Cookie,set-cookie,Cache-Control,CACHE-CONTROL,CDN-Cache-Control,Expires,Pragma,"
    b"Surrogate-Control,Connection,connection,Keep-Alive,Transfer-Encoding,Content-Length,content-length,"
    b"TE,Trailer,Upgrade,Date,Server,Access-Control-Allow-Origin,BFF-Upstream,bff-retry,Proxy-Authenticate,"
    b"Clear-Site-Data,Service-Worker-Allowed,Strict-Transport-Security,X-Content-Type-Options,"
    b"Content-Security-Policy,X-Accel-Redirect,X-Sendfile,Alt-Svc,Location,Vary,WWW-Authenticate,"
    b"Content-Encoding,X-Own,x_own,Content-Range,Content-Location,Refresh,WWW_Authenticate,X-Envoy-X".split(
        b","
    )
)
VALUES = st.one_of(
    st.sampled_from(
        [
            b"",
            b"2",
            b"0",
            b"02",
            b"+2",
            b"2, 2",
            b"close",
            b"Keep-Alive",
            b"keep-alive, ETag",
            b"x-own",
            b"chunked",
            b"gzip",
            b"a=b",
            b"bff=planted; Path=/",
            b"BFF=planted",
            b" =bff=planted",
            b"__host-http-BFF=planted; Secure",
            b"bff-tx-1=planted",
            b"bffer=1",
            b"a=b; Path=/; Domain=backend",
            b"http://backend/x",
            b"https://backend:80//x",
            b"0; url=http://backend/x",
            b'Basic realm="x", Bearer',
            b"NTLM",
            b"public, max-age=60",
            b"no-cache",
            b"obs\xfftext",
            b"a\tb",
            b"nul\0",
            b"folded\r\n on",
            b"split\r\nX-More: 1",
            b"bare\nlf",
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).map(str.encode),
)
FIELDS = st.builds(
    lambda name, colon, value, end: name + colon + value + end,
    NAMES,
    st.sampled_from([b": ", b":", b":\t ", b" : "]),
    VALUES,
    st.sampled_from([b"", b"", b" ", b"\t"]),
)
STATUSES = st.sampled_from(
    [
        STATUS,
        STATUS,
        STATUS,
        b"HTTP/1.1 401 Unauthorized",
        b"HTTP/1.1 404 ",
        b"HTTP/1.1 404",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 103 Early Hints",
        b"HTTP/1.1 500 O\xffps",
        b"HTTP/1.1 599 Own",
        b"HTTP/1.1 600 No",
        b"HTTP/1.0 200 OK",
        b"http/1.1 200 OK",
    ]
)


@given(STATUSES, st.lists(FIELDS, max_size=6), st.sampled_from([b"", b"ok", b"ok!"]), st.booleans())
@example(STATUS, [b"Content-Length: 2", b"Connection: ETag", b"ETag: 1"], b"ok", False)
@example(STATUS, [b"cache-control: public", b"Connection: cache-control"], b"ok", True)
@example(b"HTTP/1.1 204 No Content", [b"Content-Length: "], b"", False)
@example(b"HTTP/1.1 304 Not Modified", [b"Content-Length:\t"], b"", False)
@example(b"HTTP/1.1 304 Not Modified", [b"Content-Length: +2"], b"", False)
def test_made_answers_fare_as_by_the_header_rules(
    status: bytes, lines: list[bytes], content: bytes, with_length: bool
) -> None:
    """Whatever a backend says: the same status, fields and content as the long way, or None for both."""
    if with_length:
        lines = [*lines, b"Content-Length: %d" % len(content)]
    assert_alike(b"\r\n".join([status, *lines, b"", content]))


@pytest.mark.requirement("H-02")
def test_the_corpus_fares_as_by_the_header_rules() -> None:
    """Every answer that was ever thought of, whole and cut off at each of its ends."""
    for method, escaped in answers():
        data = raw(escaped)
        if method == "HEAD" or not data:
            continue  # no call with HEAD is plain
        assert_alike(data)
        assert_alike(data + b"!")
        assert_alike(data[:-1])


@pytest.mark.parametrize("name", ROUTES)
def test_answers_of_an_api_are_plain(name: str) -> None:
    """What most backends say goes the short way, on each kind of route: else it would be for nothing."""
    for lines in (
        [JSON],
        [
            b"content-type: text/plain; charset=utf-8",
            b"date: Mon, 23 Nov 2026 18:00:00 GMT",
            b"server: uvicorn",
        ],
        [JSON, b"Server: nginx/1.26", b"Connection: keep-alive", b'ETag: "abc"', b"Vary: Accept-Encoding"],
        [JSON, b"Cache-Control: no-cache", b"X-Request-Id: 17", b"Set-Cookie: tracking=1"],
        [],
    ):
        for status in (STATUS, b"HTTP/1.1 201 Created", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 500 "):
            data = answer(*lines, status=status)
            assert the_long_way(RULES[name], data) is not None
            assert the_long_way(RULES[name], data) == read(name, data)
    empty = answer(JSON, content=b"", length=b"0")
    assert the_long_way(RULES[name], empty) == read(name, empty)
    for bare in (
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\nETag: 1\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
    ):
        assert the_long_way(RULES[name], bare) is not None
        assert length_last(the_long_way(RULES[name], bare)) == length_last(read(name, bare))
    large = answer(JSON, content=b"x" * 200_000, length=b"200000")
    for data in (large, large[:-1], large[:-200_000]):
        assert the_long_way(RULES[name], data) is not None
        assert the_long_way(RULES[name], data) == read(name, data)


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(
    "data",
    [
        answer(JSON, status=b"HTTP/1.1 401 Unauthorized"),
        answer(JSON, status=b"HTTP/1.1 204 No Content"),
        answer(JSON, status=b"HTTP/1.1 304 Not Modified"),
        answer(JSON, status=b"HTTP/1.1 204 No Content", content=b"", length=b"0"),
        answer(JSON, status=b"HTTP/1.1 304 Not Modified", content=b"ok", length=b"0"),
        answer(JSON, b"Content-Length: 0", status=b"HTTP/1.1 304 Not Modified", content=b"", length=b"0"),
        answer(b"Content-Encoding: gzip\r\n", status=b"HTTP/1.1 304 Not Modified"),
        answer(JSON, status=b"HTTP/1.1 100 Continue"),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(JSON),
        answer(JSON, b"Connection: close"),
        answer(JSON, b"Connection: keep-alive, X-Own", b"X-Own: 1"),
        answer(JSON, b"Connection: X-Own", b"X-Own: 1"),
        answer(JSON, b"Content-Length: 2"),
        answer(JSON, b"content-length: 3"),
        answer(JSON, b"Transfer-Encoding: chunked"),
        answer(JSON, length=b"-2"),
        answer(JSON, length=b"0x2"),
        answer(JSON, length=b"2_"),
        answer(JSON, length=b"2" * 16),
        answer(JSON, length=b""),
        answer(JSON, content=b"ok" + answer(JSON)),
        answer(JSON, content=b"ok\r\n"),
        answer(b"Content-Type: Text/Event-Stream; charset=utf-8", content=b"o"),
        answer(JSON, b"X: a\r\n b"),
        answer(JSON, b"X : a"),
        answer(JSON, b"X: a\nY: b"),
        answer(JSON, b"X: a\rY: b"),
        answer(JSON, b"X: \0"),
        answer(b"\r\n".join([b"X: a"] * MOST_PLAIN_FIELDS)),
        answer(b"X: " + b"a" * 20_000),
        answer(JSON)[:-3],
        b"\r\n" + answer(JSON),
        b"",
    ],
)
def test_what_is_not_plain_is_left_alone(data: bytes) -> None:
    """A 401, an end, a nomination, doubtful framing, a second answer behind the first: all None."""
    for name in ROUTES:
        assert read(name, answer(JSON)) is not None
        assert read(name, data) is None
        assert read(name, data) is None


@pytest.mark.requirement("B-34")
@pytest.mark.parametrize(
    "planted",
    [
        b"bff=1",
        b"Bff=1; Path=/",
        b" bff =1",
        b"=bff=1",
        b"__Host-Http-bff=1",
        b"__HOST-HTTP-BFF=1",
        b"__Host-Http-bff-tx-1=1",
    ],
)
def test_no_backend_sets_our_cookies(planted: bytes) -> None:
    """In no spelling, however often it tries; the other cookies of the same answer pass."""
    for name in ROUTES:
        for _ in range(2):
            found = read(name, answer(b"Set-Cookie: a=1", b"SET-COOKIE: " + planted, b"set-cookie: b=2"))
            assert found is not None
            assert [b"a=1", b"b=2"] == [value for field, value in found[1] if field == b"set-cookie"]


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("required", b"public, max-age=60", [b"private, no-store"]),
        ("required", None, [b"private, no-store"]),
        ("cacheable", b"public, max-age=60", [b"public, max-age=60"]),
        ("cacheable", None, [b"private, no-store"]),
        ("optional", b"public", [b"private, no-store"]),
        ("open", b"public", [b"public"]),
        ("open", None, []),
    ],
)
def test_caching(name: str, said: bytes | None, expected: list[bytes]) -> None:
    """Who may keep an answer is the route's word, and the next answer's is not this one's."""
    lines = [JSON] if said is None else [JSON, b"Cache-Control: " + said]
    for data in (answer(*lines), answer(JSON), answer(b"Cache-Control: no-cache")):
        assert read(name, data) is not None
    found = read(name, answer(*lines))
    assert found is not None
    assert expected == [value for field, value in found[1] if field == b"cache-control"]
