"""The circuit breaker before the provider, and a pause for each session that was refused.

Rule 1: a failure that every call would meet (the provider is out of reach, asks to wait, refuses this client)
opens the circuit at once. Answers that get lost or are late open it when several sessions in a row have met
that, and a refusal when many have: one user's token is no outage, however often it is sent.
Rule 2: an open circuit lets nobody ask for a while, with jitter, and for a few seconds at most unless the
provider has asked for more: so it is asked again soon after it is back. Then one call may ask, and its
outcome decides for all.
Rule 3: a call that began before the circuit opened neither closes it nor keeps it open. Where it opened only
because answers are late, one that comes after all closes it.
Rule 4: a clock that is put back ends a pause.
"""

import random
from collections.abc import Callable
from typing import Final, Literal, Self

SEVERAL: Final = 3
"""The number of sessions that lose an answer, one after the other, until nobody asks for a while."""

SOON, LATER = 5.0, 30.0
"""Seconds of the longest pause: after an outage, and after a refusal that only the user can end."""

_FIRST = 1.0
_LONGEST_ASKED = 300.0  # seconds: a provider cannot silence us for longer
_PROBING = 1.0  # seconds that other calls are told to wait while one is being tried
_MAX_SESSIONS = 10_000


class _Pause:
    """A span of time that grows each time it is begun."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times = 0
        self._since = self._length = 0.0

    def begin(self, asked: float | None, longest: float = SOON) -> None:
        """Begins it; the provider may have asked for some length."""
        length = min(longest, _FIRST * 2**self._times)
        self._times = min(self._times + 1, 10)
        length *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        self._length = max(length, min(asked or 0.0, _LONGEST_ASKED))
        self._since = self._clock()

    def left(self) -> float:
        """Seconds that are left of it."""
        gone = self._clock() - self._since
        return self._length - gone if 0 <= gone < self._length else 0.0

    def forget(self) -> None:
        """The next one is short again."""
        self._times, self._length = 0, 0.0


class Permit:
    """Leave to ask the provider; a `with` block around the asking, in which the outcome is told."""

    __slots__ = ("_circuit", "_era", "_session", "probe")

    def __init__(self, circuit_breaker: "CircuitBreaker", era: int, session: str, *, probe: bool) -> None:
        self._circuit = circuit_breaker
        self._era = era
        self._session = session
        self.probe = probe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._circuit.done(self)  # if nothing was told the next may try

    @property
    def valid(self) -> bool:
        """True while this call's outcome still counts."""
        return self._era == self._circuit.era

    def answered(self) -> None:
        """The provider works."""
        if self.valid:
            self._circuit.close()

    def lost(self) -> None:
        """Notes that the provider was asked, and no usable answer came."""
        if self.valid:
            self._circuit.lost(self._session)

    def late(self) -> None:
        """Notes that the provider was asked, and no answer has come yet."""
        if self.valid:
            self._circuit.lost(self._session, late=True)

    def failed(self, retry_after: float | None) -> None:
        """Notes that the provider cannot be reached, has asked to wait (seconds), or refuses everybody."""
        if self.valid:
            self._circuit.open(retry_after)


class CircuitBreaker:
    """A switch that keeps calls from a provider that fails. `opened` is told of each change."""

    def __init__(self, clock: Callable[[], float], opened: Callable[[bool], None]) -> None:
        self.era = 0  # counts the changes
        self._probe: Permit | None = None
        self._opened = opened
        self._open = False
        self._lost: set[str] = set()  # sessions, since an answer came
        self._pause = _Pause(clock)

    def retire(self) -> None:
        """Stops reporting changes: the provider has other settings, or is gone."""
        if self._open:
            self._opened(False)
        self._opened = lambda _: None

    def left(self) -> float:
        """Seconds until it is worth asking; 0 if it may be asked now."""
        if not self._open:
            return 0.0
        return self._pause.left() or (_PROBING if self._probe is not None else 0.0)

    def permit(self, session: str) -> Permit | None:
        """Leave to ask for a session, if it may be asked now."""
        if self.left():
            return None
        permit = Permit(self, self.era, session, probe=self._open)
        if permit.probe:
            self._probe = permit
        return permit

    def done(self, permit: Permit) -> None:
        """A call has ended."""
        if self._probe is permit:
            self._probe = None

    def close(self) -> None:
        """Closes: every session may ask again."""
        self._lost.clear()
        if self._open:
            self._change(to_open=False)
            self._pause.forget()

    def lost(self, session: str, *, late: bool = False) -> None:
        """Counts an answer that did not come, or has not yet."""
        self._lost.add(session)
        if self._open or len(self._lost) >= SEVERAL:
            self.open(None, late=late)

    def open(self, retry_after: float | None, *, late: bool = False) -> None:
        """Opens: no session may ask for a while. `late`: calls that are under way may close it yet."""
        self._change(to_open=True, late=late)
        self._pause.begin(retry_after)

    def _change(self, *, to_open: bool, late: bool = False) -> None:
        if not late:
            self.era += 1
        self._probe = None
        self._lost.clear()
        if to_open != self._open:
            self._open = to_open
            self._opened(to_open)


Why = Literal["refused", "user_needed"]
"""The reason of a session's pause: its token was refused, an answer got lost, or the user is wanted."""


class SessionBackoff:
    """Sessions whose tokens were refused, or whose answers got lost: they alone wait. Bounded."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pauses: dict[str, tuple[_Pause, Why]] = {}

    def left(self, key: str) -> float:
        """Seconds until this session's token may be sent again."""
        kept = self._pauses.get(key)
        return 0.0 if kept is None else kept[0].left()

    def needs_user(self, key: str) -> bool:
        """Returns True if the session waits because the provider wants to see its user."""
        kept = self._pauses.get(key)
        return kept is not None and kept[1] == "user_needed"

    def begin(self, key: str, asked: float | None, *, longest: float = SOON, why: Why = "refused") -> None:
        """Makes this session wait, longer each time."""
        kept = self._pauses.pop(key, None)
        pause = _Pause(self._clock) if kept is None else kept[0]
        self._pauses[key] = pause, why
        pause.begin(asked, longest)
        if len(self._pauses) > _MAX_SESSIONS:
            del self._pauses[next(iter(self._pauses))]

    def forget(self, key: str) -> None:
        """Forgets a session: its tokens were rotated, or it is over."""
        self._pauses.pop(key, None)
