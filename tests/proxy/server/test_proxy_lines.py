"""The lines that a reverse proxy adds: read by one match, never otherwise than one by one."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.proxy.server import header_line_cache
from bff.proxy.server.header_line_cache import LineCache
from bff.proxy.server.proxy_lines import MOST, ProxyLines
from tests.proxy.server.sample_requests import (
    A_BROWSER,
    NAMES,
    VALUES,
    as_read,
    by_the_parser,
    cache,
    request_of,
    seen,
)

FOR = b"X-Forwarded-For: 192.0.2.1"
OF_A_PROXY = [FOR, b"X-Real-IP: 192.0.2.1", b"X-Request-ID: 01234567", b"traceparent: 00-1"]


def names_of(lines: LineCache) -> int:
    return lines._proxy_lines.count


@pytest.mark.requirement("H-02")
@given(*[st.lists(st.tuples(NAMES, VALUES), max_size=4)] * 2)
def test_lines_that_a_proxy_adds_are_read_as_single_ones(
    before: list[tuple[bytes, bytes]], now: list[tuple[bytes, bytes]]
) -> None:
    """Whatever a proxy has added to the requests before: a request is read as by a new cache."""
    lines = cache()
    lines.read(request_of([FOR, *(b"%b:%b" % field for field in before)]))
    for fields in (before, now):
        data = request_of([FOR, *(b"%b:%b" % field for field in fields)])
        request, alone = lines.read(data), cache().read(data)
        assert (request is None) is (alone is None)
        if request is not None:
            assert by_the_parser(data) == seen(request)
            assert as_read(alone) == as_read(request)


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("more", [b"X-Via: 1", b"X-Request-ID: 0123456789", b"traceparent: 00-2"])
def test_lines_that_a_proxy_adds_have_their_values(more: bytes) -> None:
    """One match reads them; a field that stands twice is the parser's, a control in a value refuses it."""
    lines = cache()
    assert as_read(lines.read(request_of(OF_A_PROXY))) == as_read(lines.read(request_of(OF_A_PROXY)))
    assert 3 == names_of(lines)
    other = [FOR, b"X-Real-IP: 192.0.2.7", b"X-Request-ID:  76543210\t", b"traceparent: 00-3"]
    request = lines.read(request_of(other))
    assert request is not None
    assert ((b"192.0.2.1",), b"76543210", b"00-3") == (request.addresses, request.request_id, request.trace)
    twice = lines.read(request_of([*other, more]))
    assert (twice is None) is (b"Via" not in more)
    assert lines.read(request_of([*other[:2], b"X-Request-ID: a\x00b", other[3]])) is None


def test_lines_that_another_proxy_adds_are_learnt() -> None:
    """After so many requests with other lines than those that are known; until then these are read singly."""
    lines = cache()
    assert lines.read(request_of([FOR, *A_BROWSER])) is not None
    assert 0 == names_of(lines)
    for _ in range(header_line_cache._RELEARNT):
        assert 0 == names_of(lines)
        assert lines.read(request_of([*OF_A_PROXY, *A_BROWSER])) is not None
    assert 3 == names_of(lines)


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("before", [b"X-Request-ID: 0123456789", b"traceparent: 00-2"])
def test_lines_of_a_client_stand_before_those_of_a_proxy(before: bytes) -> None:
    """A field that a client has sent before a proxy adds it stands twice, and is the parser's."""
    lines = cache()
    for _ in range(2):
        assert lines.read(request_of(OF_A_PROXY)) is not None
    assert 3 == names_of(lines)
    assert lines.read(request_of([before, *OF_A_PROXY])) is None


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(
    ("known", "line"),
    [
        (b"X.A: 1", b"X-A: 1"),
        (b"X*: 1", b"X: 1"),
        (b"X|Y: 1", b"Y: 1"),
        (b"X-A: 1", b"x-a: 1"),
        (b"X-A: 1", b"X-A: \t 2 "),
        (b"X-A: 1", b"X-A:"),
    ],
)
def test_lines_are_known_by_their_names(known: bytes, line: bytes) -> None:
    """A name is no pattern, and a value stands without the blanks around it."""
    lines = cache()
    assert lines.read(request_of([FOR, known])) is not None
    assert 1 == names_of(lines)
    data = request_of([FOR, line])
    request = lines.read(data)
    assert as_read(cache().read(data)) == as_read(request)
    assert request is not None
    assert by_the_parser(data) == seen(request)


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(
    ("added", "known"),
    [
        ([b"X-%b: 1" % (b"n" * 30), b"X-B: 1"], 2),
        ([b"X-%b: 1" % (b"n" * 31), b"X-B: 1"], 0),
        ([b"X-A: 1", b"X-B: 1", b"X-A: 2", b"X-C: 1"], 2),
        ([b"X-%d: 1" % number for number in range(12)], MOST),
    ],
)
def test_few_lines_with_short_names_are_learnt(added: list[bytes], known: int) -> None:
    """Clients choose these names, and a pattern is made of them."""
    lines = cache()
    assert lines.read(request_of([FOR, *added])) is not None
    assert known == names_of(lines)


@pytest.mark.requirement("H-02")
def test_a_request_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that repeats X-Forwarded-For has no pattern compiled with each of its requests."""
    compiled: list[Mapping[bytes, bytes]] = []

    class Counted(ProxyLines):
        def __init__(self, lines: Mapping[bytes, bytes], *names: bytes) -> None:
            compiled.append(lines)
            super().__init__(lines, *names)

    lines = cache()
    monkeypatch.setattr(header_line_cache, "ProxyLines", Counted)
    for number in range(2 * header_line_cache._RELEARNT):
        assert lines.read(request_of([FOR] * header_line_cache._RELEARNT + [b"X-%d: 1" % number])) is not None
    assert 2 == len(compiled)


def test_lines_that_are_read_together_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head with more lines than the limit is the parser's, however they are read."""
    lines = cache()
    for _ in range(2):
        assert lines.read(request_of(OF_A_PROXY)) is not None
    monkeypatch.setattr(lines, "_max_fields", 6)  # the request line is counted, too
    assert lines.read(request_of(OF_A_PROXY)) is not None
    assert lines.read(request_of([*OF_A_PROXY, b"X-Via: 1"])) is None
