"""Limits on the calls and streams that one client has under way, over all routes of a process.

A client is a session and, beside it, an address. A stream counts among the streams from the moment at which
its answer says that it is one, and no longer among the calls.

A call on the fast path is not counted here, only by its pool, which holds its client to a share of the
connections: it is over with one read, and when it is not, it falls back to a `ForwardedCall`, which counts.
"""

from bff.policy.bounded_counts import Counts
from bff.settings.model import LimitSettings


class Callers:
    """The counts of calls and streams under way, over all clients of a process.

    Those that a `former` one has counted go on under these limits.
    """

    def __init__(self, limits: LimitSettings | None = None, former: "Callers | None" = None) -> None:
        limits = limits or LimitSettings()
        before = former.__dict__ if former is not None else {}
        self.calls_of_session = Counts(limits.calls_per_session, before.get("calls_of_session"))
        self.calls_of_address = Counts(limits.calls_per_address, before.get("calls_of_address"))
        self.streams_of_session = Counts(limits.streams_per_session, before.get("streams_of_session"))
        self.streams_of_address = Counts(limits.streams_per_address, before.get("streams_of_address"))


class Caller:
    """The client of one call, and its counts until `end`."""

    __slots__ = ("_address", "_all", "_counted", "_session")

    def __init__(self, callers: Callers, address: str) -> None:
        self._all = callers
        self._address = address
        self._session: str | None = None
        self._counted: list[tuple[Counts, str]] = []

    @property
    def client(self) -> str:
        """The client that holds the connection: a session, or an address where nobody is signed in."""
        return self._session or self._address

    def begin(self) -> bool:
        """Counts the call for its address; returns False where too many of that are under way."""
        return self._count(self._all.calls_of_address, self._address)

    def sign(self, session: str) -> bool:
        """Counts the call for a session, by its key; returns False where too many of that are under way."""
        if self._session is not None:
            return True
        self._session = session
        return self._count(self._all.calls_of_session, session)

    def stream(self) -> bool:
        """Counts the call as a stream from now on; returns False where there are too many."""
        self.end()
        if self._session is not None and not self._count(self._all.streams_of_session, self._session):
            return False
        return self._count(self._all.streams_of_address, self._address)

    def end(self) -> None:
        """Ends the counting of the call."""
        for counts, key in self._counted:
            counts.leave(key)
        self._counted = []

    def _count(self, counts: Counts, key: str) -> bool:
        entered = counts.enter(key)
        if entered:
            self._counted.append((counts, key))
        return entered
