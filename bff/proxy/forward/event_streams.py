"""The event streams of a process, and their end at a stop, or with their frontend.

Rule 1: when the server stops, or a frontend is taken out of the settings, an event stream under way ends at
once and cleanly, and one that begins later ends with its head: its reader comes back by itself.
Rule 2: a reader drops the part behind the last whole event (HTML, 9.2.6), so that a `retry` only has
a place behind a whole one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from bff.policy.fields import Header

RETRY = b"retry: 1000\n\n"
"""Tells a reader when to come back, in milliseconds: it may have waited for less, or for ever."""

_NOTHING_YET = b"\n\n"  # of a stream that has sent nothing: a whole event would end like this
_CODED = b"coded"  # of a stream in a content coding, which has no place for a line of ours
_TAIL = 4  # bytes: as long as the longest end of an event
_WHOLE = (b"\n\n", b"\r\r", b"\r\n\r\n")


class Drainable(Protocol):
    """An event stream, or a WebSocket."""

    def drain(self) -> None:
        """Ends it now, cleanly."""


class EventStreams:
    """The event streams or the WebSockets under way, of one frontend or of the process, the `whole`."""

    __slots__ = ("_open", "_stopping", "whole")

    def __init__(self, whole: "EventStreams | None" = None) -> None:
        self._open: dict[Drainable, None] = {}
        self._stopping = False
        self.whole = whole or self

    def begin(self, stream: Drainable) -> None:
        """Takes a stream in whose head has been sent."""
        self._open[stream] = None
        if self.whole is not self:
            self.whole.begin(stream)
        if self._stopping:
            stream.drain()

    def end(self, stream: Drainable) -> None:
        """Forgets a stream that is over."""
        self._open.pop(stream, None)
        if self.whole is not self:
            self.whole.end(stream)

    @contextmanager
    def holding(self, stream: Drainable) -> Iterator[None]:
        """Holds a stream for as long as the block runs."""
        self.begin(stream)
        try:
            yield
        finally:
            self.end(stream)

    def stop(self) -> None:
        """Ends all streams, because the server stops or the frontend is gone; again it is harmless."""
        self._stopping = True
        for stream in list(self._open):
            stream.drain()


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
