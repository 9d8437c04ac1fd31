"""Refusals of refresh tokens: whether it is this session's matter, or everybody's. Pure but for its memory.

Rule 1: a refusal is about one token until several sessions have met the same one and nobody has been given
tokens meanwhile.
Rule 2: one that repeats, for a while, is how a provider with words of its own says that a token is dead: then
the session is over. What several meet, and nobody is spared, is the provider's trouble, and ends nobody.
Rule 3: both memories are bounded.
"""

from collections.abc import Callable
from typing import Final, Literal

from bff.refresh.circuit_breaker import SEVERAL

MANY: Final = 10
"""The number of sessions that meet the same refusal until nobody asks for a while."""

TIMES, SECONDS = 3, 10.0
"""The number of refusals, and the seconds between first and last, that end a session."""

_MAX_SESSIONS = 10_000
_MAX_KINDS = 50

Weight = Literal["single", "repeated", "many"]
"""A refusal of one session, one too many of them, or one that many sessions meet."""


class Refusals:
    """The refusals that a process remembers. `granted` counts the provider's good answers."""

    def __init__(self, clock: Callable[[], float], granted: Callable[[], int]) -> None:
        self._clock = clock
        self._granted = granted
        self._seen = granted()
        self._sessions: dict[str, tuple[int, float]] = {}  # how often, and since when
        self._kinds: dict[str, set[str]] = {}  # sessions by kind of refusal, since the last good answer

    def note(self, session: str, kind: str, *, passing: bool) -> Weight:
        """Counts a refusal, and weighs it; `kind` tells refusals apart, `passing` ones end nothing."""
        others = self._others(session, kind)
        if others >= MANY:
            return "many"
        if passing:
            return "single"
        now = self._clock()
        times, since = self._sessions.pop(session, (0, now))
        since = min(since, now)  # the clock may have been put back
        self._sessions[session] = times + 1, since
        if len(self._sessions) > _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        over = times + 1 >= TIMES and now - since >= SECONDS and others < SEVERAL
        return "repeated" if over else "single"

    def forget(self, session: str) -> None:
        """Forgets a session: its tokens were rotated, or it is over."""
        self._sessions.pop(session, None)

    def _others(self, session: str, kind: str) -> int:
        """Returns the number of sessions that have met this, with no good answer since, this one included."""
        if self._granted() != self._seen:
            self._seen = self._granted()
            self._kinds.clear()
        met = self._kinds.setdefault(kind, set())
        if len(self._kinds) > _MAX_KINDS:
            del self._kinds[next(iter(self._kinds))]
        if len(met) < MANY:
            met.add(session)
        return len(met)
