"""The timers of a client connection: one wait at a time, the 408 at its end, a timer that is seldom moved."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from bff.errors import Problem
from bff.policy.request_refusal import Refusal


class Wait(Enum):
    """The waits of a connection."""

    NOTHING = auto()
    REQUEST = auto()  # the first byte of the next one
    HEAD = auto()  # its end
    BODY = auto()  # its next piece
    HANG_UP = auto()  # the client's end of the connection, after the last answer
    READING = auto()  # the client reads our output
    PING = auto()  # the time for the next ping of a WebSocket
    PONG = auto()  # its answer


NOTHING, REQUEST = Wait.NOTHING, Wait.REQUEST
"""The two waits of each call: an enumeration's member takes a look-up more than a module's name."""


def too_late(wait: Wait) -> Refusal | None:
    """Returns the refusal of a client that has let this wait end; None where it is told nothing."""
    if wait not in {Wait.HEAD, Wait.BODY}:
        return None
    return Refusal(Problem.REQUEST_TIMEOUT, f"the request's {wait.name.lower()} took too long")


class WaitTimer:
    """The timer of one wait. A wait that is put off or ends moves it not: it looks at the wait when it rings.

    Attributes:
        wait: the present one; may be set to NOTHING to end it.
    """

    __slots__ = ("_due", "_handle", "_late", "_loop", "_rings_at", "wait")

    def __init__(self, loop: asyncio.AbstractEventLoop, late: Callable[[Wait], None]) -> None:
        self._loop = loop
        self._late = late
        self._handle: asyncio.TimerHandle | None = None
        self._rings_at = self._due = 0.0
        self.wait = Wait.NOTHING

    def begin(self, wait: Wait, seconds: float) -> None:
        """Begins this wait; calls `late` if it takes longer."""
        self.wait = wait
        self._due = due = self._loop.time() + seconds
        if self._handle is None or self._rings_at > due:
            self._set(due)

    def stop(self) -> None:
        """Ends the wait and the timer."""
        self.wait = Wait.NOTHING
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._rings_at = due
        self._handle = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._handle = None
        if self.wait is Wait.NOTHING:
            return
        if self._due > self._loop.time():
            self._set(self._due)
            return
        wait, self.wait = self.wait, Wait.NOTHING
        self._late(wait)
