"""The content of requests and answers: its end and its bytes, in whatever pieces they arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.policy.chunked_body import ChunkedContent, FramingError, LengthContent
from tests.proxy.server.test_request_parser import cut

Taken = str | tuple[int | None, bytes]


def take(data: bytes, pieces: list[bytes]) -> Taken:
    """The end of a chunked body in `data`, and its content: an error, a position, or None if it has none."""
    body, content = ChunkedContent(), b""
    taken = 0
    for piece in pieces:
        rest = piece
        while rest and not body.over:  # a take is one turn's worth
            try:
                found, step = body.take(rest)
            except FramingError:
                return "refused"
            content, taken, rest = content + found, taken + step, rest[step:]
        if body.over:
            return taken, content
    assert len(data) == taken
    return None, content


@pytest.mark.requirement("H-02")
@given(
    st.lists(
        st.sampled_from(
            [
                b"0\r\n",
                b"\r\n",
                b"3\r\nabc\r\n",
                b"1;x=y\r\n.\r\n",
                b"\n",
                b"\r",
                b"5",
                b"a: b\r\n",
                b";",
                b"f" * 20,
            ]
        ),
        min_size=1,
    ).map(b"".join),
    st.lists(st.integers(0, 500), max_size=12),
)
def test_pieces_of_a_body_do_not_matter(data: bytes, at: list[int]) -> None:
    """A chunked body ends at the same byte, or is refused, however it was cut into pieces."""
    assert take(data, [data]) == take(data, cut(data, at))


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"0\r\n\r\nnext", 5),
        (b"3\r\nabc\r\n0\r\n\r\n", 13),
        (b'1;a;b=c;d="e\\"f;"\r\n.\r\n0\r\n\r\n', 27),
        (b"0\r\na: b\r\nc: d\r\n\r\nnext", 17),
        (b'000a;x="y"\r\n0123456789\r\n00\r\n\r\n', 30),
        (b"3\r\nabc", None),
        (b"0\r\n\r", None),
        (b"0\r\n" + b"a: b\r\n" * 5000, "refused"),
        (b"1;" + b"x" * 300 + b"\r\n", "refused"),
        ((b"1;" + b"x" * 200 + b"\r\n.\r\n") * 100, "refused"),
        ((b"ff;" + b"x" * 200 + b"\r\n" + b"." * 255 + b"\r\n") * 100, None),
        (b"1\r\n.\r\n" * 100_000, "refused"),
            (b"1\r\n.\r\n" * 4_000, None),
            (b"6\r\n......\r\n" * 100_000, None),
        (b"5\n", "refused"),
        (b"5\r\nhello!", "refused"),
        (b"5\r\nhello\n", "refused"),
        (b"5;a\0\r\n", "refused"),
        (b"5 \r\n", "refused"),
        (b"0\r\nX : y\r\n", "refused"),
        (b"0\r\nX: \0\r\n", "refused"),
        (b"0\r\nContent-Length: 5\r\n\r\n", "refused"),
        (b"\r\n", "refused"),
        (b"g\r\n", "refused"),
        (b"0000000000000001\r\n", "refused"),
    ],
)  # fmt: skip
def test_chunked_body(data: bytes, end: str | int | None) -> None:
    """The end of a chunked body is found, and framing may not outweigh content."""
    outcome = take(data, [data])
    assert end == (outcome if isinstance(outcome, str) else outcome[0])


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_content(step: int) -> None:
    """The content comes without its framing, however it arrives."""
    data = b"3\r\nabc\r\n4;x=y\r\n\r\nde\r\n0\r\nX: y\r\n\r\n"
    assert (len(data), b"abc\r\nde") == take(data, [data[at : at + step] for at in range(0, len(data), step)])


def test_length_body() -> None:
    """A body of known length ends exactly there."""
    body = LengthContent(5)
    assert ((b"abc", 3), False) == (body.take(b"abc"), body.over)
    assert ((b"de", 2), True) == (body.take(b"defgh"), body.over)
