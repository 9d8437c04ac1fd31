"""Made-up messages, sane and insane, read by ours and by a slower reader (H-02)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.soak import answer_target, door_target

HOST = b"Host: app.example.com\r\n"
FIELDS = st.sampled_from(
    [
        b"",
        b"X: y\r\n",
        b"Connection: close\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"X:\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Expect: 100-continue\r\n",
        b" folded\r\n",
        b"Content-Length: 05\r\n",
        b"Content-Length: +5\r\n",
        b"Trailer: X\r\n",
        b"Upgrade: h2c\r\n",
        b"A : b\r\n",
    ]
)
CONTENT = st.sampled_from(
    [
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"0\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"\r\n",
        b"ffffffffffffffff\r\n",
        b"5\r\nhell",
        b"hello\r\n",
    ]
)
CUT = st.integers(0, 255).map(lambda number: bytes([number]))


def message(starts: list[bytes]) -> st.SearchStrategy[bytes]:
    """A first line, some fields, an end that is mostly right, and content that may belong to it."""
    ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b""])
    fields = st.lists(FIELDS, max_size=4).map(b"".join)
    return st.tuples(st.sampled_from(starts), fields, ends, CONTENT).map(b"".join)


REQUESTS = [
    b"GET /a?b HTTP/1.1\r\n" + HOST,
    b"POST /a HTTP/1.1\r\n" + HOST,
    b"HEAD / HTTP/1.1\r\n" + HOST,
    b"PUT / HTTP/1.0\r\n" + HOST,
    b"GET / HTTP/1.1\r\n",
    b"GET  / HTTP/1.1\r\n" + HOST,
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.1 103 Early Hints\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 408 Late\r\n",
]


@pytest.mark.requirement("H-02")
@given(CUT, st.lists(message(REQUESTS), min_size=1, max_size=4).map(b"".join))
@settings(max_examples=300)
def test_requests_are_framed_as_a_slower_reader_frames_them(cut: bytes, sent: bytes) -> None:
    """Up to the first refusal both find the same requests, however the bytes arrive."""
    door_target.check(cut + sent)


@pytest.mark.requirement("H-02", "H-05")
@given(CUT, st.lists(message(ANSWERS), min_size=1, max_size=3).map(b"".join))
@settings(max_examples=500)
def test_answers_are_framed_as_a_slower_reader_frames_them(cut: bytes, sent: bytes) -> None:
    """What is passed on has the same status and content there, however the bytes arrive."""
    answer_target.check(cut + sent)
