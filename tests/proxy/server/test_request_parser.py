"""Heads and framing, judged by their bytes, in whatever pieces they arrive."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.errors import Problem
from bff.policy.request_limits import RequestLimits
from bff.policy.request_refusal import Refusal
from bff.proxy.server.request_parser import Head, RequestParser, parse_head
from bff.settings.model import ServerSettings

CORPUS = [
    case["request"].encode("latin-1")
    for case in json.loads((Path(__file__).parents[2] / "data" / "refused_requests.json").read_text())[
        "cases"
    ]
]
GOOD = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"
LIMITS = replace(
    RequestLimits.configured(ServerSettings(public_url="http://x")), max_head_bytes=1000, max_head_fields=20
)
Verdict = tuple[Problem, str]


def verdict(refusal: Refusal) -> Verdict:
    return refusal.problem, refusal.detail


def read(pieces: list[bytes]) -> tuple[Head | Verdict | None, bytes]:
    """Feeds a parser until it has an outcome: the outcome, and all that follows a head."""
    parser = RequestParser(LIMITS)
    for number, piece in enumerate(pieces):
        try:
            found = parser.feed(piece)
        except Refusal as refusal:
            return verdict(refusal), b""
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


@pytest.mark.parametrize("data", CORPUS)
def test_corpus(data: bytes) -> None:
    """No request of the corpus comes out of a reader as one that could be served, whole or in pieces."""
    whole = read([data])
    assert whole == read([data[at : at + 1] for at in range(len(data))])


def test_head() -> None:
    """A complete head comes with its parts and with what follows it."""
    head, rest = read([GOOD + b"rest"])
    assert head == Head(b"GET", b"/a", b"b", [(b"host", b"x")])
    assert b"rest" == rest


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(
    "lines",
    ["X : a", ": a", "X a: a", "X", " X: a", "X: a\rY: b", "X: a\0", "\xe9: b", "X: \x7f"],
)
def test_malformed_lines(lines: str) -> None:
    """A line that is no field is refused."""
    with pytest.raises(Refusal) as refused:
        parse_head(f"GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode("latin-1"), LIMITS)
    assert Problem.BAD_REQUEST is refused.value.problem


def test_begun() -> None:
    """A reader knows whether it waits for the rest of a head."""
    reader = RequestParser(LIMITS)
    assert not reader.begun
    reader.feed(b"G")
    assert reader.begun
    reader.feed(GOOD[1:])
    assert not reader.begun
    reader.feed(b"\r")
    reader.feed(b"\n")
    assert not reader.begun


BAD = Problem.BAD_REQUEST
PASS_ON = (
    "server.public_url has to be the address that browsers show, and a reverse proxy in front has to pass "
    "Host on as the browser sent it"
)
BOTH = BAD, "both content-length and transfer-encoding"
NO_BODY = BAD, "an upgrade has no body"


def judged(fields: str, version: str = "1.1") -> Head | Verdict:
    """The head of a POST with these fields, or why it is refused."""
    lines = "\r\n".join([f"POST / HTTP/{version}", *fields.split(" | "), "", ""])
    try:
        return parse_head(lines.encode(), LIMITS, websocket=True)
    except Refusal as refusal:
        return verdict(refusal)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ("host: x", 0),
        ("host: X:80 | content-length: 7", 7),
        ("host: x | transfer-encoding: CHUNKED", None),
        ("host: x | upgrade: WebSocket", 0),
        ("host: x | upgrade: websocket | content-length: 0", 0),
        ("host: x | upgrade: h2c", 0),
        ("host: x | upgrade: websocket | content-length: 1", NO_BODY),
        ("host: x | upgrade: websocket | transfer-encoding: chunked", NO_BODY),
        ("host: x | content-length: 1 | transfer-encoding: chunked", BOTH),
        ("host: x | content-length: +5", (BAD, "malformed content-length")),
        ("host: x | upgrade: tls", (BAD, "this upgrade is not served")),
        ("host: x | expect: 100-Continue", 0),
        ("host: x | expect: tea", (Problem.EXPECTATION_FAILED, "")),
        ("host: y", (Problem.WRONG_HOST, f"this is x: {PASS_ON}")),
        ("accept: x", (BAD, "no host header")),
    ],
)  # fmt: skip
def test_fields(fields: str, outcome: int | Verdict | None) -> None:
    """The fields say where the body ends, or that nobody can know."""
    head = judged(fields)
    assert outcome == (head.length if isinstance(head, Head) else head)


def test_an_upgrade_without_a_route_that_takes_it() -> None:
    """The refusal names the setting that is missing: a browser shows a developer no more than the status."""
    raw = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    with pytest.raises(Refusal) as refused:
        parse_head(raw, LIMITS, websocket=False)
    assert (
        BAD,
        "no route takes WebSockets: `websocket = true` on one lets them through",
    ) == verdict(refused.value)


@pytest.mark.requirement("P-01", "H-02")
@pytest.mark.parametrize(
    ("target", "host", "let_in"),
    [
        ("http://shop", "shop", True),
        ("http://SHOP:80", "shop", True),
        ("http://shop", "Shop:80", True),
        ("http://shop:8080", "shop:8080", True),
        ("http://shop", "desk", False),
        ("http://desk", "shop:80", False),
        ("http://shop:8080", "shop", False),
        ("http://shop", "", False),
    ],
)
def test_a_target_and_a_host_that_name_two_frontends(target: str, host: str, let_in: bool) -> None:
    """One counts for some servers, the other for others: a request of both is refused (RFC 9112 3.2.2)."""
    names = frozenset({b"shop", b"shop:80", b"shop:8080", b"desk", b"desk:80"})
    limits = replace(LIMITS, hosts=replace(LIMITS.hosts, names=names))
    raw = f"GET {target}/api/x HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
    if let_in:
        assert b"/api/x" == parse_head(raw, limits).path
        return
    with pytest.raises(Refusal) as refused:
        parse_head(raw, limits)
    assert (BAD, "the request target and the host header name two hosts") == verdict(refused.value)


@pytest.mark.parametrize(
    ("fields", "version", "keeps"),
    [
        ("", "1.1", True),
        (" | connection: keep-alive", "1.1", True),
        (" | connection: Close", "1.1", False),
        (" | connection: x,\tCLOSE , y", "1.1", False),
        (" | connection: x | connection: close", "1.1", False),
        (" | connection: closed", "1.1", True),
        (" | connection: keep-alive", "1.0", False),
    ],
)
def test_persistence(fields: str, version: str, keeps: bool) -> None:
    """A connection goes on unless one of the options says close, or the client is of HTTP/1.0."""
    head = judged(f"host: x{fields}", version)
    assert isinstance(head, Head)
    assert keeps is head.keep_alive


@pytest.mark.parametrize(
    ("fields", "upgrades"),
    [
        ("upgrade: websocket | connection: Upgrade", True),
        ("upgrade: WebSocket | connection: keep-alive, upgrade", True),
        ("upgrade: websocket", False),
        ("connection: upgrade", False),
        ("upgrade: h2c | connection: upgrade", False),
    ],
)
def test_an_upgrade_is_named_twice(fields: str, upgrades: bool) -> None:
    """An upgrade is asked for by its field and by the option (RFC 9110 7.8)."""
    head = judged(f"host: x | {fields}")
    assert isinstance(head, Head)
    assert upgrades is head.upgrade


def test_expectations() -> None:
    """A client waits for a 100 before a body alone; on HTTP/1.0 an Expect means nothing (RFC 9110 10.1.1)."""
    for fields, version, expects in (
        ("expect: 100-continue | content-length: 1", "1.1", True),
        ("expect: 100-continue | content-length: 0", "1.1", False),
        ("expect: 100-continue", "1.1", False),
        ("expect: tea | content-length: 1", "1.0", False),
    ):
        head = judged(f"host: x | {fields}", version)
        assert isinstance(head, Head)
        assert expects is head.expects_continue


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
    assert hosts == RequestLimits.configured(ServerSettings(public_url=public_url)).hosts.names
