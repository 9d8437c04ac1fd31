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
    OF_SEVERAL,
    START,
    VALUES,
    as_read,
    by_the_parser,
    cache,
    request_of,
    seen,
)

FOR = b"X-Forwarded-For: 192.0.2.1"
OF_A_PROXY = [FOR, b"X-Real-IP: 192.0.2.1", b"X-Request-ID: 01234567", b"traceparent: 00-1"]


PLACES = pytest.mark.parametrize("before", [[], [b"Accept: */*"]], ids=["behind Host", "elsewhere"])
"""The lines between Host and those of a proxy."""


def names_of(lines: LineCache) -> int:
    """The number of lines that are read together, without Host and X-Forwarded-For."""
    known = lines._proxy_lines
    return known.count - 2 * (known.host is not None)


@pytest.mark.requirement("H-02")
@given(st.lists(st.tuples(NAMES, VALUES), max_size=2), *[st.lists(st.tuples(NAMES, VALUES), max_size=4)] * 2)
def test_lines_that_a_proxy_adds_are_read_as_single_ones(
    first: list[tuple[bytes, bytes]], before: list[tuple[bytes, bytes]], now: list[tuple[bytes, bytes]]
) -> None:
    """Whatever a proxy has added to the requests before: a request is read as by a new cache."""
    lines = cache()
    beginning = [*(b"%b:%b" % field for field in first), FOR]
    lines.read(request_of([*beginning, *(b"%b:%b" % field for field in before)]))
    for fields in (before, now):
        data = request_of([*beginning, *(b"%b:%b" % field for field in fields)])
        request, alone = lines.read(data), cache().read(data)
        assert (request is None) is (alone is None)
        if request is not None:
            assert by_the_parser(data) == seen(request)
            assert as_read(alone) == as_read(request)


@pytest.mark.requirement("H-02")
@PLACES
@pytest.mark.parametrize("more", [b"X-Via: 1", b"X-Request-ID: 0123456789", b"traceparent: 00-2"])
def test_lines_that_a_proxy_adds_have_their_values(more: bytes, before: list[bytes]) -> None:
    """One match reads them; a field that stands twice is the parser's."""
    lines = cache()
    known = request_of([*before, *OF_A_PROXY])
    assert as_read(lines.read(known)) == as_read(lines.read(known))
    assert 3 == names_of(lines)
    other = [*before, FOR, b"X-Real-IP: 192.0.2.7", b"X-Request-ID: 76543210", b"traceparent: 00-3"]
    request = lines.read(request_of(other))
    assert request is not None
    assert ((b"192.0.2.1",), b"76543210", b"00-3") == (request.addresses, request.request_id, request.trace)
    twice = lines.read(request_of([*other, more]))
    assert (twice is None) is (b"Via" not in more)


@PLACES
def test_lines_that_another_proxy_adds_are_learnt(before: list[bytes]) -> None:
    """After so many requests with other lines than those that are known; until then these are read singly."""
    lines = cache()
    assert lines.read(request_of([FOR, *A_BROWSER])) is not None
    assert 0 == names_of(lines)
    for _ in range(header_line_cache._RELEARNT):
        assert 0 == names_of(lines)
        assert lines.read(request_of([*before, *OF_A_PROXY, *A_BROWSER])) is not None
    assert 3 == names_of(lines)


@pytest.mark.requirement("H-02")
@PLACES
@pytest.mark.parametrize("of_client", [b"X-Request-ID: 0123456789", b"traceparent: 00-2"])
def test_lines_of_a_client_stand_beside_those_of_a_proxy(of_client: bytes, before: list[bytes]) -> None:
    """A field that a client has sent and a proxy adds stands twice, and is the parser's."""
    lines = cache()
    for _ in range(2):
        assert lines.read(request_of([*before, *OF_A_PROXY])) is not None
    assert 3 == names_of(lines)
    assert lines.read(request_of([*before, of_client, *OF_A_PROXY])) is None
    assert lines.read(request_of([of_client, *before, *OF_A_PROXY])) is None
    assert lines.read(request_of([*before, *OF_A_PROXY, of_client])) is None


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("first", [b"app.example.com", b"evil.example.com", b"", b"app.example.com, b"])
@pytest.mark.parametrize("second", [b"app.example.com", b"evil.example.com"])
def test_lines_of_a_proxy_hide_no_second_host(first: bytes, second: bytes) -> None:
    """Whether the host that a proxy's lines begin with is served or not: a second one is the parser's."""
    lines = cache()
    for _ in range(3):
        assert lines.read(request_of([*OF_A_PROXY, *A_BROWSER])) is not None
    assert 3 == names_of(lines)
    start = START.replace(b"app.example.com", first)
    for last in (A_BROWSER, [b"Host: " + second, *A_BROWSER], [*A_BROWSER, b"Host: " + second]):
        data = request_of([*OF_A_PROXY, *last], start)
        served = last is A_BROWSER and first == b"app.example.com"
        assert (lines.read(data) is not None) is served
        assert (by_the_parser(data) is not None) is served


@pytest.mark.requirement("H-02")
def test_lines_of_a_proxy_begin_once() -> None:
    """Lines that begin with Host are those behind the request line: further back they are a second Host."""
    lines = cache()
    for _ in range(2):
        assert lines.read(request_of([*OF_A_PROXY, *A_BROWSER])) is not None
    data = request_of([b"Accept: */*", FOR, b"Host: app.example.com", *OF_A_PROXY])
    assert by_the_parser(data) is None
    assert lines.read(data) is None


@pytest.mark.requirement("P-01")
def test_lines_of_a_proxy_before_several_hosts() -> None:
    """They are the same for the clients of all hosts, and the place is that of the host that is named."""
    lines = cache(OF_SEVERAL)
    for _ in range(2):
        for host in (b"app.example.com", b"other.example.com"):
            start = START.replace(b"app.example.com", host)
            request = lines.read(request_of([*OF_A_PROXY, *A_BROWSER], start))
            assert request is not None
            assert lines.places[host] is request.place
            assert (b"192.0.2.1",) == request.addresses
    assert 3 == names_of(lines)


@pytest.mark.requirement("H-02")
@PLACES
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
def test_lines_are_known_by_their_names(known: bytes, line: bytes, before: list[bytes]) -> None:
    """A name is no pattern, and a value stands without the blanks around it."""
    lines = cache()
    assert lines.read(request_of([*before, FOR, known])) is not None
    assert 1 == names_of(lines)
    data = request_of([*before, FOR, line])
    request = lines.read(data)
    assert as_read(cache().read(data)) == as_read(request)
    assert request is not None
    assert by_the_parser(data) == seen(request)


@PLACES
@pytest.mark.parametrize("first", range(1, len(OF_A_PROXY)))
def test_one_match_reads_them_all(first: int, before: list[bytes]) -> None:
    """Whichever comes first, and however Host is spelt: no name among them is looked up."""
    lines = cache()
    added = [FOR, *OF_A_PROXY[first:], *OF_A_PROXY[1:first]]
    for _ in range(2):
        assert lines.read(request_of([*before, *added])) is not None
    lines._names.clear()
    request = lines.read(request_of([*before, *added], START.replace(b"app", b"App")))
    assert request is not None
    assert lines.places[b"app.example.com"] is request.place
    assert ((b"192.0.2.1",), b"01234567", b"00-1") == (request.addresses, request.request_id, request.trace)
    assert ({b"Host", b"Accept", b"X-Forwarded-For"} if before else set()) == lines._names.keys()
    for twice in (b"X-Request-ID: 2", b"traceparent: 00-2"):
        assert lines.read(request_of([*before, twice, *added])) is None


@pytest.mark.requirement("H-02")
@PLACES
@pytest.mark.parametrize("control", [b"\x00", b"\x08", b"\x0b", b"\x0c", b"\r", b"\n", b"\x1f", b"\x7f"])
def test_a_control_in_a_value_is_refused(control: bytes, before: list[bytes]) -> None:
    """Wherever it stands, in any line that a proxy adds, those among them that go to no backend."""
    lines = cache()
    known = request_of([*before, *OF_A_PROXY, b"X-Via: 1"])
    for _ in range(2):
        assert lines.read(known) is not None
    assert 4 == names_of(lines)
    ends = [end for end in range(len(known) - 2) if known[end : end + 2] == b"\r\n"]
    for end in ends[1:-1]:  # behind each header line
        begin = known.rindex(b": ", 0, end) + 2
        for at in (begin, begin + 1, end):
            data = known[:at] + control + known[at:]
            assert lines.read(data) is None
            assert by_the_parser(data) is None


@pytest.mark.requirement("H-02", "P-01")
@PLACES
@pytest.mark.parametrize(
    "spelt", [b": %b", b": %b ", b": %b\t", b":  %b", b": \t%b", b":%b", b":%b ", b":\t%b", b": \xa0%b\x85"]
)
def test_values_stand_without_their_blanks(spelt: bytes, before: list[bytes]) -> None:
    """In any line that a proxy adds, Host among them: a blank is SP or HTAB (RFC 9110 5.6.3)."""
    lines = cache()
    for _ in range(2):
        assert lines.read(request_of([*before, *OF_A_PROXY])) is not None
    assert 3 == names_of(lines)
    added = [b"Host: app.example.com", *before, *OF_A_PROXY]
    for at, (name, _, value) in enumerate(line.partition(b": ") for line in added):
        data = request_of([*added[:at], name + spelt % value, *added[at + 1 :]], b"GET /api/x HTTP/1.1\r\n")
        request, alone = lines.read(data), cache().read(data)
        if alone is None:
            assert (None, b"Host") == (request, name)
            continue
        assert request is not None
        assert as_read(alone) == as_read(request)
        assert by_the_parser(data) == seen(request)
        read = (request.addresses, request.request_id, request.trace)
        assert (alone.addresses, alone.request_id, alone.trace) == read
        assert all(part == part.strip(b" \t") for part in (*request.addresses, *read[1:]) if part is not None)


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
@PLACES
def test_few_lines_with_short_names_are_learnt(added: list[bytes], known: int, before: list[bytes]) -> None:
    """Clients choose these names, and a pattern is made of them."""
    lines = cache()
    assert lines.read(request_of([*before, FOR, *added])) is not None
    assert min(known, MOST if before else MOST - 2) == names_of(lines)


def test_an_address_further_back_is_found() -> None:
    """Lines of a proxy may stand before X-Forwarded-For, or behind so many others that these are left out."""
    lines = cache()
    before = [b"X-%d: 1" % number for number in range(MOST)]
    assert lines.read(request_of([*before, *OF_A_PROXY])) is not None
    assert 3 == names_of(lines)
    lines = cache()
    assert lines.read(request_of([OF_A_PROXY[1], FOR, *OF_A_PROXY[2:]])) is not None
    assert 3 == names_of(lines)


@pytest.mark.requirement("H-02")
def test_a_request_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that repeats X-Forwarded-For has no pattern compiled with each of its requests."""
    compiled: list[Mapping[bytes, tuple[int, bytes]]] = []

    class Counted(ProxyLines):
        def __init__(self, lines: Mapping[bytes, tuple[int, bytes]]) -> None:
            compiled.append(lines)
            super().__init__(lines)

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
