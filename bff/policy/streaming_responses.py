"""The answers that last, and the last bytes of an event stream. Pure.

Rule 1: a reader drops the part behind the last whole event (HTML, 9.2.6), so that a `retry` only has
a place behind a whole one.
"""

from bff.policy.fields import Header

RETRY = b"retry: 1000\n\n"
"""Tells a reader when to come back, in milliseconds: it may have waited for less, or for ever."""

_NOTHING_YET = b"\n\n"  # of a stream that has sent nothing: a whole event would end like this
_CODED = b"coded"  # of a stream in a content coding, which has no place for a line of ours
_TAIL = 4  # bytes: as long as the longest end of an event
_UNBUFFERED: Header = (b"x-accel-buffering", b"no")
_WHOLE = (b"\n\n", b"\r\r", b"\r\n\r\n")

_STREAMS = frozenset(
    {
        b"text/event-stream",
        b"multipart/x-mixed-replace",
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/stream+json",
        b"application/json-seq",
    }
)


def is_stream(headers: list[Header]) -> bool:
    """Returns true if an answer's content type is that of a stream."""
    for name, value in headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip(b" \t").lower() in _STREAMS
    return False


def unbuffered(headers: list[Header]) -> list[Header]:
    """Returns the header of a stream: nginx in front would hold it back by default, unless told otherwise."""
    told = any(name == _UNBUFFERED[0] for name, _ in headers)
    return headers if told else [*headers, _UNBUFFERED]


def first_tail(headers: list[Header]) -> bytes | None:
    """Returns the tail of an event stream that begins; None for any other answer and one with a length."""
    events = False
    coded = False
    for name, value in headers:
        if name == b"content-length":
            return None
        if name == b"content-encoding":
            coded = True
        elif name == b"content-type":
            events = value.partition(b";")[0].strip(b" \t").lower() == b"text/event-stream"
    if not events:
        return None
    return _CODED if coded else _NOTHING_YET


def tail(before: bytes, chunk: bytes) -> bytes:
    """Returns the last bytes of a stream behind one more piece of it."""
    return before if before == _CODED else (before + chunk[-_TAIL:])[-_TAIL:]


def is_whole(last: bytes) -> bool:
    """Returns true if a stream with these last bytes ends with a whole event."""
    return last.endswith(_WHOLE)
