"""The shortcut for plain answers: what it takes, what it leaves, and that the parser agrees."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bff.proxy.upstream import whole_response as whole_answer
from bff.proxy.upstream.response_parser import ResponseParser
from bff.proxy.upstream.whole_response import Whole, read_whole

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


def read_by_the_parser(data: bytes) -> ResponseParser:
    """The answer read a byte at a time: the shortcut never sees it whole."""
    reader = ResponseParser()
    reader.begin(no_content=False)
    chunks: list[bytes] = []
    for byte in data:
        reader.feed(bytes([byte]))
        if reader.refusal is not None:
            break
        chunks += reader.chunks
    reader.chunks = chunks
    return reader


def test_a_plain_answer_is_taken() -> None:
    """Status, reason, fields and content, as they stand on the wire."""
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    assert Whole(200, b"OK", fields, b"ok", closes=False) == read_whole(PLAIN)
    closing = read_whole(PLAIN.replace(b"text/plain", b"x\r\nConnection: Close"))
    assert closing is not None
    assert closing.closes
    empty = read_whole(b"HTTP/1.1 404 Not Found\r\nX:  a b \t\r\nY:\r\ncontent-length:0\r\n\r\n")
    assert empty == Whole(
        404, b"Not Found", [(b"x", b"a b"), (b"y", b""), (b"content-length", b"0")], b"", closes=False
    )


@pytest.mark.requirement("H-05", "H-11")
def test_a_204_or_304_is_taken_where_it_promises_nothing() -> None:
    """Its empty line is all; a length, a coding or a byte behind it is the parser's to judge."""
    for status in (b"204 No Content", b"304 Not Modified"):
        head = b"HTTP/1.1 %b\r\nETag: 1\r\n" % status
        taken = Whole(int(status[:3]), status[4:], [(b"etag", b"1")], b"", closes=False)
        assert taken == read_whole(head + b"\r\n")
        for more in (b"\r\nx", b"Content-Length: 0\r\n\r\n", b"Content-Encoding: gzip\r\n\r\n"):
            assert read_whole(head + more) is None


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:-1],
        PLAIN + b"!",
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b"200", b"103"),
        PLAIN.replace(b"200", b"204"),
        PLAIN.replace(b"200", b"304"),
        PLAIN.replace(b"200", b"999"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: +2"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: 2, 2"),
        PLAIN.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        PLAIN.replace(b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        PLAIN.replace(b"Content-Length: 2\r\n", b""),
        PLAIN.replace(b"text/plain", b"text\x00plain"),
        PLAIN.replace(b"text/plain", b"text\nplain"),
        PLAIN.replace(b"text/plain", b"text\r\n folded"),
        PLAIN.replace(b"Content-Type:", b"Content-Type :"),
        PLAIN.replace(b"Content-Type:", b"Content Type:"),
        PLAIN.replace(b"Content-Type:", b":"),
        PLAIN.replace(b"OK", b"O\x07K"),
        PLAIN.replace(b"\r\nContent-Type", b"\nContent-Type"),
        PLAIN.replace(b"Content-Type: text/plain", b"\r\n".join([b"A: b"] * 101)),
    ],
)
def test_everything_else_is_the_parsers(data: bytes) -> None:
    """Incomplete, too long, without content by its nature, or doubtful in any way: not for the shortcut."""
    assert read_whole(data) is None


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 500 \r\n",
        b"A: b\r\n",
        b"A:\tb c \r\n",
        b"Content-Length: 2\r\n",
        b"content-length:0\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"\r\n",
        b"ok",
        b"\xff\r\n",
    ]
)


@given(
    st.one_of(
        st.lists(PIECES, max_size=8).map(b"".join), st.binary(max_size=60).map(lambda b: PLAIN[:40] + b)
    )
)
@example(PLAIN)
def test_the_parser_would_read_it_alike(data: bytes) -> None:
    """Whatever the shortcut takes, the parser reads to the same status, fields, content and end."""
    whole = read_whole(data)
    if whole is None:
        return
    reader = read_by_the_parser(data)
    assert (None, True) == (reader.refusal, reader.done)
    assert whole == Whole(
        reader.status, reader.reason, reader.headers, b"".join(reader.chunks), closes=not reader.persistent
    )


def test_what_is_remembered_is_bounded() -> None:
    """Lines that never come again do not pile up."""
    for number in range(3 * whole_answer._MOST_LINES):
        read_whole(b"HTTP/1.1 200 %d\r\nX: %d\r\nContent-Length: 0\r\n\r\n" % (number, number))
    assert len(whole_answer._fields) <= whole_answer._MOST_LINES
    assert len(whole_answer._statuses) <= whole_answer._MOST_LINES
    long = b"X: " + b"x" * 5000
    assert None is not read_whole(b"HTTP/1.1 200 OK\r\n" + long + b"\r\nContent-Length: 0\r\n\r\n")
    assert long not in whole_answer._fields
