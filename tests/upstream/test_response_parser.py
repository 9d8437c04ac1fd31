"""What the reader of a backend's answers takes, and what it refuses (RFC 9112, 6; H-02, H-05)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.policy.fields import Header
from bff.upstream.response_parser import MAX_INTERIM, AnswerLimits, ResponseParser
from tests.support.corpus import raw, rows

MAX_HEAD_BYTES, MAX_FIELDS = AnswerLimits()


@dataclass
class Read:
    """All that one answer, fed in pieces, brought."""

    interim: list[int] = field(default_factory=list)
    status: int = 0
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""
    done: bool = False
    persistent: bool = False
    refusal: str | None = None


def read(
    pieces: Iterable[bytes], method: str = "GET", *, eof: bool = False, reader: ResponseParser | None = None
) -> Read:
    reader = reader or ResponseParser()
    reader.begin(no_content=method == "HEAD")
    result = Read()
    for piece in pieces:
        reader.feed(piece)
        if reader.refusal is not None:
            assert not reader.chunks
            assert not reader.interim
            result.refusal = reader.refusal
            break
        result.interim += [status for status, _ in reader.interim]
        result.body += b"".join(reader.chunks)
    if eof:
        reader.feed_eof()
    if reader.head_done and reader.refusal is None:
        result.status, result.headers = reader.status, reader.headers
    result.done = reader.done
    result.persistent = reader.done and reader.persistent
    return result


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.requirement("H-05")
@pytest.mark.parametrize(("method", "status", "content", "ends", "answer"), rows("accepted.tsv"))
def test_sane_answers_are_read_whole(method: str, status: str, content: str, ends: str, answer: str) -> None:
    """Every sane framing gives status, content and end, whole or byte by byte."""
    data = raw(answer)
    whole, parts = read([data], method, eof=ends == "eof"), read(bytewise(data), method, eof=ends == "eof")
    assert (int(status), raw(content)) == (whole.status, whole.body)
    assert (True, ends == "keep", None) == (whole.done, whole.persistent, whole.refusal)
    assert whole == parts


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(("method", "why", "answer"), rows("refused.tsv"))
def test_ambiguous_answers_are_refused(method: str, why: str, answer: str) -> None:
    """What two readers could read differently is refused, whole or byte by byte, and not ended cleanly."""
    data = raw(answer)
    for pieces in ([data], bytewise(data)):
        result = read(pieces, method)
        assert result.refusal is not None
        assert why in result.refusal
        assert not result.done


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(("method", "answer"), rows("after_the_end.tsv"))
def test_data_after_the_end_is_never_part_of_an_answer(method: str, answer: str) -> None:
    """A second answer to one request is refused with the first, or found on its own, never delivered."""
    first, after = (raw(part) for part in answer.split("|"))
    assert "data after the end of the answer" == read([first + after], method).refusal
    assert read([first], method).done
    assert "data after the end of the answer" == read([first, after], method).refusal


def test_trailers_are_dropped() -> None:
    """A field in the trailer section never becomes a header (H-02)."""
    result = read([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSet-Cookie: a=b\r\n\r\n"])
    assert [(b"transfer-encoding", b"chunked")] == result.headers


def test_names_in_lower_case_values_trimmed() -> None:
    """Field names come in lower case, values without the white space around them, order and repeats kept."""
    result = read([b"HTTP/1.1 200 OK\r\nB: \t x y \t\r\nA:\r\nb:z\r\nContent-Length: 0\r\n\r\n"])
    assert [(b"b", b"x y"), (b"a", b""), (b"b", b"z"), (b"content-length", b"0")] == result.headers


def test_interim_headers_do_not_reach_the_final_answer() -> None:
    """The fields of a 1xx stay with it."""
    reader = ResponseParser()
    reader.feed(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\nX: y\r\n\r\n")
    assert [(103, [(b"link", b"a")])] == reader.interim
    assert [(b"x", b"y")] == reader.headers
    assert 204 == reader.status


def test_one_reader_reads_one_answer_after_the_other() -> None:
    """A kept connection's answers do not touch one another, a HEAD in between included."""
    reader = ResponseParser()
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    assert b"hi" == read([plain], reader=reader).body
    assert read([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"], "HEAD", reader=reader).done
    assert b"hi" == read([plain], reader=reader).body
    assert b"hi" == read([plain], reader=reader).body


@pytest.mark.requirement("H-08")
@pytest.mark.parametrize(
    ("why", "head"),
    [
        ("too many header fields", b"X: y\r\n" * (MAX_FIELDS + 1)),
        ("header block too large", b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\n"),
        (
            "header block too large",
            b"X: " + b"y" * (MAX_HEAD_BYTES // 2) + b"\r\nY: " + b"z" * (MAX_HEAD_BYTES // 2) + b"\r\n",
        ),
    ],
)
def test_oversized_heads_are_refused(why: str, head: bytes) -> None:
    """A header block beyond the bounds is refused, whether it comes at once, in pieces, or never ends."""
    data = b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: 0\r\n\r\n"
    assert why == read([data]).refusal
    pieces = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    assert why == read(pieces).refusal


def test_heads_within_the_bounds_pass() -> None:
    """As many fields as allowed, and a long head in one read with a long body, are not refused."""
    assert read([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MAX_FIELDS - 1) + b"Content-Length: 0\r\n\r\n"]).done
    size = 2 * MAX_HEAD_BYTES
    data = b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: %d\r\n\r\n" % (b"y" * 60_000, size) + b"b" * size
    assert size == len(read([data]).body)


@pytest.mark.requirement("H-08")
def test_the_bounds_are_settings() -> None:
    """Larger ones let more pass, and hold as well."""
    limits = AnswerLimits(2 * MAX_HEAD_BYTES, 2 * MAX_FIELDS)
    fields = b"X: y\r\n" * (2 * MAX_FIELDS - 1)
    for head, more in (
        (fields, b"X: y\r\n"),
        (b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\n", b"Y: " + b"z" * MAX_HEAD_BYTES + b"\r\n"),
    ):
        start, end = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"
        assert read([start + head + end], reader=ResponseParser(limits)).done
        assert read([start + head + more + end], reader=ResponseParser(limits)).refusal is not None


@pytest.mark.requirement("H-08")
@pytest.mark.parametrize("endless", [b"0\r\n" + b"X: y\r\n" * 200_000, b"1;" + b"x" * 200_000])
def test_endless_framing_is_refused(endless: bytes) -> None:
    """A trailer section or a chunk extension that never ends costs no more memory than a header block."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + endless
    result = read(data[i : i + 1000] for i in range(0, len(data), 1000))
    assert result.refusal is not None
    assert any(why in result.refusal for why in ("more chunk framing or trailers", "is too long"))


@pytest.mark.requirement("H-12")
@pytest.mark.parametrize("cut", [1000, 64 * 1024, 256 * 1024])
@pytest.mark.parametrize(("chunk", "taken"), [(b"1\r\na\r\n", False), (b"5\r\nabcde\r\n", True)])
def test_framing_is_bounded_against_content(chunk: bytes, taken: bool, cut: int) -> None:
    """Chunks of one byte are refused before they have cost much; small ones with enough content are not."""
    data = chunk * 100_000 + b"0\r\n\r\n"
    pieces = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    result = read([*pieces, *(data[at : at + cut] for at in range(0, len(data), cut))])
    refusal = "not valid HTTP: more chunk framing or trailers than content"
    assert (None if taken else refusal) == result.refusal
    assert result.done is taken
    assert len(result.body) == 500_000 if taken else len(result.body) < 64 * 1024


def test_a_server_that_sends_a_byte_now_and_then() -> None:
    """However many there are, chunks that come one by one are an answer as good as any."""
    pieces = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\n.\r\n"] * 50_000]
    result = read([*pieces, b"0\r\n\r\n"])
    assert (None, True, 50_000) == (result.refusal, result.done, len(result.body))


def test_endless_interim_answers_are_refused() -> None:
    """1xx answers are counted over the whole call."""
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    assert MAX_INTERIM == len(read([interim] * MAX_INTERIM).interim)
    assert "too many interim answers" == read([interim] * (MAX_INTERIM + 1)).refusal


def test_the_end_of_the_stream_ends_only_what_it_delimits() -> None:
    """EOF ends a close-delimited answer, and no other (RFC 9112, 6.3 and 8)."""
    assert read([b"HTTP/1.1 200 OK\r\n\r\nhi"], eof=True).done
    for cut in (
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
    ):
        assert not read([cut] if cut else [], eof=True).done


ANSWERS = [(row[0], raw(row[-1])) for row in rows("accepted.tsv") + rows("refused.tsv")]


@given(data=st.data())
@settings(max_examples=300)
def test_where_reads_are_cut_makes_no_difference(data: st.DataObject) -> None:
    """Any division of any answer of the corpus into reads gives the same result."""
    method, answer = data.draw(st.sampled_from(ANSWERS))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=8)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    cut, whole = read(pieces, method, eof=True), read([answer], method, eof=True)
    if whole.refusal is None:
        assert whole == cut
    else:
        assert whole.refusal == cut.refusal


@given(
    st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.1 204 X\r\n",
                b"HTTP/1.1 103 X\r\n",
                b"HTTP/1.0 200 OK\r\n",
                b"Content-Length: 2\r\n",
                b"Content-Length: 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Transfer-Encoding: x\r\n",
                b"Connection: close\r\n",
                b"\r\n",
                b"hi",
                b"2\r\n",
                b"0\r\n",
                b"\n",
                b" ",
                b"\0",
                b"X: y\r\n",
            ]
        ),
        max_size=12,
    ),
    st.booleans(),
)
@settings(max_examples=500)
def test_no_mixture_of_pieces_crashes_or_frames_two_ways(pieces: list[bytes], head: bool) -> None:
    """The reader never raises, and what is done when read at once is the same byte by byte."""
    method = "HEAD" if head else "GET"
    data = b"".join(pieces)
    whole, parts = read([data] if data else [], method), read(bytewise(data), method)
    lone_line_end = parts.refusal == "data after the end of the answer" and data.endswith(b"\r\n")
    if whole.done and whole.refusal is None and not lone_line_end:  # the parser skips those in the same read
        assert whole == parts
