"""Heads and framing, judged by their bytes, in whatever pieces they arrive."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.errors import Problem
from bff.proxy.server.request_parser import (
    ChunkedBody,
    FramingError,
    Head,
    LengthBody,
    Refusal,
    RequestLimits,
    RequestParser,
    judge_fields,
    parse_head,
)
from bff.settings.model import ServerSettings

CORPUS = [
    case["request"].encode("latin-1")
    for case in json.loads((Path(__file__).parents[2] / "data" / "refused_requests.json").read_text())[
        "cases"
    ]
]
GOOD = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"


def read(pieces: list[bytes]) -> tuple[Head | Refusal | None, bytes]:
    """Feeds a reader until it has an outcome: the outcome, and all that follows a head."""
    reader = RequestParser(1000, 20)
    for number, piece in enumerate(pieces):
        found = reader.feed(piece)
        if isinstance(found, Refusal):
            return found, b""
        if found is not None:
            head, rest = found
            return head, rest + b"".join(pieces[number + 1 :])
    return None, b""


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cuts data into pieces; none is empty."""
    ends = [0, *sorted({position % len(data) for position in at} - {0}), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@pytest.mark.requirement("H-02")
@given(
    st.one_of(
        st.sampled_from(CORPUS),
        st.lists(
            st.sampled_from(
                [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1", b"X: y", b" ", b"\x00", b"z" * 400]
            )
        ).map(b"".join),
    ).filter(bool),
    st.lists(st.integers(0, 5000), max_size=12),
)
def test_pieces_do_not_matter(data: bytes, at: list[int]) -> None:
    """The verdict on a head, and where it ends, is the same however it was cut into pieces."""
    assert read([data]) == read(cut(data, at))


def take(data: bytes, pieces: list[bytes]) -> str | int | None:
    """Where a chunked body ends in `data`: an error, a position, or None if it does not."""
    body = ChunkedBody()
    taken = 0
    for piece in pieces:
        rest = piece
        while rest and not body.over:  # a take is one turn's worth
            try:
                step = body.take(rest)
            except FramingError:
                return "refused"
            taken, rest = taken + step, rest[step:]
        if body.over:
            return taken
    assert len(data) == taken
    return None


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
        (b"\r\n", "refused"),
        (b"g\r\n", "refused"),
        (b"0000000000000001\r\n", "refused"),
    ],
)  # fmt: skip
def test_chunked_body(data: bytes, end: str | int | None) -> None:
    """The end of a chunked body is found, and framing may not outweigh content."""
    assert end == take(data, [data])


@pytest.mark.parametrize("data", CORPUS)
def test_corpus(data: bytes) -> None:
    """No request of the corpus comes out of a reader as one that could be served, whole or in pieces."""
    whole = read([data])
    assert whole == read([data[at : at + 1] for at in range(len(data))])


def test_length_body() -> None:
    """A body of known length ends exactly there."""
    body = LengthBody(5)
    assert (3, False) == (body.take(b"abc"), body.over)
    assert (2, True) == (body.take(b"defgh"), body.over)


def test_head() -> None:
    """A complete head comes with its parts and with what follows it."""
    head, rest = read([GOOD + b"rest"])
    assert head == Head(GOOD, b"GET", b"/a?b", http_1_0=False)
    assert b"rest" == rest


def test_bare_cr() -> None:
    """A CR without LF is refused here, whatever the parser makes of it."""
    outcome = parse_head(b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 20)
    assert Refusal(Problem.BAD_REQUEST, "control character in the head") == outcome


def test_begun() -> None:
    """A reader knows whether it waits for the rest of a head."""
    reader = RequestParser(1000, 20)
    assert not reader.begun
    reader.feed(b"G")
    assert reader.begun
    reader.feed(GOOD[1:])
    assert not reader.begun
    reader.feed(b"\r")
    reader.feed(b"\n")
    assert not reader.begun


BOTH = Refusal(Problem.BAD_REQUEST, "both content-length and transfer-encoding")
NO_BODY = Refusal(Problem.BAD_REQUEST, "an upgrade has no body")
HOSTS = frozenset({b"x", b"x:80"})


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ("host: x", 0),
        ("host: X:80 | content-length: 7", 7),
        ("host: x | transfer-encoding: CHUNKED", None),
        ("host: x | upgrade: WebSocket", 0),
        ("host: x | upgrade: websocket | content-length: 0", 0),
        ("host: x | upgrade: websocket | content-length: 1", NO_BODY),
        ("host: x | upgrade: websocket | transfer-encoding: chunked", NO_BODY),
        ("host: x | content-length: 1 | transfer-encoding: chunked", BOTH),
        ("host: x | content-length: +5", Refusal(Problem.BAD_REQUEST, "malformed content-length")),
        ("host: x | upgrade: h2c", Refusal(Problem.BAD_REQUEST, "this upgrade is not served")),
        ("host: x | expect: 100-Continue", 0),
        ("host: x | expect: tea", Refusal(Problem.EXPECTATION_FAILED, "")),
        ("host: y", Refusal(Problem.WRONG_HOST, "this is x")),
        ("accept: x", Refusal(Problem.BAD_REQUEST, "no host header")),
    ],
)  # fmt: skip
def test_fields(fields: str, verdict: int | Refusal | None) -> None:
    """The fields say where the body ends, or that nobody can know."""
    headers = [
        (name.encode(), value.encode())
        for name, value in (field.split(": ") for field in fields.split(" | "))
    ]
    assert verdict == judge_fields(headers, http_1_0=False, hosts=HOSTS, websocket=True)


def test_http_1_0_knows_no_expectations() -> None:
    """An Expect on HTTP/1.0 means nothing (RFC 9110 10.1.1)."""
    assert 0 == judge_fields(
        [(b"host", b"x"), (b"expect", b"y")], http_1_0=True, hosts=HOSTS, websocket=False
    )


@pytest.mark.parametrize(
    ("public_url", "hosts"),
    [
        ("https://x", {b"x", b"x:443"}),
        ("http://x", {b"x", b"x:80"}),
        ("http://localhost:8080", {b"localhost:8080"}),
        ("https://[::1]", {b"[::1]", b"[::1]:443"}),
        ("https://[::1]:8443", {b"[::1]:8443"}),
    ],
)
def test_hosts(public_url: str, hosts: set[bytes]) -> None:
    """Host may name the scheme's own port, and no other."""
    assert hosts == RequestLimits.configured(ServerSettings(public_url=public_url)).hosts
