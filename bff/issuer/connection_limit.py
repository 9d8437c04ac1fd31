"""A bound on the number of an issuer's connections.

Rule 1: of the connections that wait for their client, the one that has waited longest gives way to a new
one: a request comes whole in a moment, so that the longest wait is an idle client's, or a slow one's.
Rule 2: where each has a request under way, a new one is refused: it gets 503.
Rule 3: the log has one line in `LOG_INTERVAL`, with the counts since the last one.
"""

import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

from bff.observe.logs import get_logger

MOST: Final = 1000
"""Connections of one process, at most."""
LOG_INTERVAL: Final = 10.0
"""Seconds between two lines, at least."""

_log = get_logger("bff.issuer")


class Connection(Protocol):
    """A connection that can be told to go."""

    def give_way(self) -> None:
        """Ends the connection."""


def most_connections() -> int:
    """Three quarters of the descriptors that a process may have: the rest is for Redis and other servers."""
    if sys.platform == "win32":
        return MOST
    import resource  # noqa: PLC0415 - not on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, soft * 3 // 4)


class ConnectionLimit:
    """The connections of one process; all calls come from its event loop.

    Args:
        most: connections at once.
        clock: monotonic seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._admitted: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # the longest wait first
        self._refused = self._closed = 0
        self._next_line = float("-inf")

    def admit(self, connection: Connection) -> bool:
        """Takes a connection in; False if it is to be refused."""
        if len(self._admitted) >= self._most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                self._refused += 1
                self._tell()
                return False
            self.leave(longest)
            longest.give_way()
            self._closed += 1
            self._tell()
        self._admitted.add(connection)
        return True

    def wait(self, connection: Connection) -> None:
        """Begins a connection's wait for its client."""
        if connection in self._admitted:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def work(self, connection: Connection) -> None:
        """Ends that wait: its request is there."""
        self._waiting.pop(connection, None)

    def leave(self, connection: Connection) -> None:
        """Forgets a connection that has ended, or is ending."""
        self._admitted.discard(connection)
        self._waiting.pop(connection, None)

    def _tell(self) -> None:
        now = self._clock()
        if now >= self._next_line:
            _log.warning("connections_full", most=self._most, refused=self._refused, closed=self._closed)
            self._refused = self._closed = 0
            self._next_line = now + LOG_INTERVAL
