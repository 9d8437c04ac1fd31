"""The event streams and WebSockets under way, and their end at a stop, with their frontend, or by time.

When the server stops, or a frontend is taken out of the settings, an event stream under way ends at
once and cleanly, and one that begins later ends with its head: its reader comes back by itself. So does a
stream of a session that is bound to its device, after its `stream_lifetime`: who comes back has to have a
fresh proof.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Drainable(Protocol):
    """An event stream, or a WebSocket."""

    def drain(self) -> None:
        """Ends the stream or the socket now, cleanly."""


class MaybeBound(Protocol):
    """A session, as far as it decides how long its streams last."""

    @property
    def bound(self) -> bool:
        """True where it is bound to its device."""


def stream_lifetime(session: MaybeBound | None, of_bound: float | None) -> float | None:
    """Returns the seconds that a stream or a WebSocket may last; None where time does not end it.

    Args:
        session: that of the call; None for a call without one.
        of_bound: `session.bound_stream_lifetime`.
    """
    return of_bound if session is not None and session.bound else None


class OpenStreams:
    """The event streams or the WebSockets under way, of one frontend or of the process, the `whole`."""

    __slots__ = ("_open", "_stopping", "whole")

    def __init__(self, whole: "OpenStreams | None" = None) -> None:
        self._open: dict[Drainable, asyncio.TimerHandle | None] = {}
        self._stopping = False
        self.whole = whole or self

    def begin(self, stream: Drainable, lasts: float | None = None) -> None:
        """Takes a stream in whose head has been sent; it ends after `lasts` seconds, if that is set."""
        loop = asyncio.get_running_loop()
        self._open[stream] = None if lasts is None else loop.call_later(lasts, stream.drain)
        if self.whole is not self:
            self.whole.begin(stream)
        if self._stopping:
            stream.drain()

    def end(self, stream: Drainable) -> None:
        """Forgets a stream that is over."""
        if (timer := self._open.pop(stream, None)) is not None:
            timer.cancel()
        if self.whole is not self:
            self.whole.end(stream)

    @contextmanager
    def holding(self, stream: Drainable, lasts: float | None = None) -> Iterator[None]:
        """Holds a stream for as long as the block runs; see `begin`."""
        self.begin(stream, lasts)
        try:
            yield
        finally:
            self.end(stream)

    def stop(self) -> None:
        """Ends all streams, because the server stops or the frontend is gone; again it is harmless."""
        self._stopping = True
        for stream in list(self._open):
            stream.drain()
