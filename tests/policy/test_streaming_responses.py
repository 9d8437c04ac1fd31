"""The answers that count as streams, and the place behind an event stream's last whole event."""

import pytest

from bff.policy.streaming_responses import first_tail, is_stream, is_whole, tail, unbuffered

EVENTS = (b"content-type", b"text/event-stream;charset=utf-8")


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([EVENTS], True),
        ([(b"etag", b"1"), (b"content-type", b"Application/JSON-seq ; x=1")], True),
        ([(b"content-type", b"application/json")], False),
        ([(b"etag", b"text/event-stream")], False),
    ],
)
def test_streams_by_their_type(headers: list[tuple[bytes, bytes]], wanted: bool) -> None:
    """The type decides, in any case and with any parameter."""
    assert wanted is is_stream(headers)


def test_a_word_has_its_place_behind_a_whole_event() -> None:
    """An answer with a length is nobody's to end; in a coded one there is no place for a line of ours."""
    assert None is first_tail([EVENTS, (b"content-length", b"9")])
    assert None is first_tail([(b"content-type", b"application/x-ndjson")])
    begun = first_tail([(b"etag", b"1"), EVENTS])
    assert begun is not None
    assert is_whole(begun)
    for pieces, whole in (
        ([b"data: 1\n\n"], True),
        ([b"data: 1\r\n\r", b"\n"], True),
        ([b"data: 1\r\r"], True),
        ([b"data: 1\n\n", b"da"], False),
        ([b"data: 1\n"], False),
    ):
        last = begun
        for piece in pieces:
            last = tail(last, piece)
        assert whole is is_whole(last), pieces
    coded = first_tail([(b"content-encoding", b"gzip"), EVENTS])
    assert coded is not None
    assert not is_whole(tail(coded, b"\n\n"))


def test_a_proxy_in_front_is_told_not_to_buffer() -> None:
    """Unless the backend has said something about it."""
    assert [(b"a", b"b"), (b"x-accel-buffering", b"no")] == unbuffered([(b"a", b"b")])
    said = [(b"x-accel-buffering", b"yes")]
    assert said == unbuffered(said)
