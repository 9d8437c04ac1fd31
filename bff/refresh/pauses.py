"""When the provider may be asked: a circuit for all, and a pause for each session that was refused.

Rule 1: what every call would meet (it cannot be reached, asks to wait, refuses this client) opens the circuit
at once; answers that get lost open it when several have in a row: one bad answer of a thousand is no outage.
Rule 2: an open circuit lets nobody ask for a while, longer each time, with jitter; then one may, and what
becomes of that one decides for all.
Rule 3: a call that began before the circuit opened neither closes it nor keeps it open.
Rule 4: a clock that is put back ends a pause.
"""

import random
from collections.abc import Callable
from typing import Final, Self

LOST_IN_A_ROW: Final = 5
"""How many answers have to get lost, one after the other, until nobody is asked for a while."""

_FIRST, _LONGEST = 1.0, 30.0
_LONGEST_ASKED = 300.0  # seconds: a provider cannot silence us for longer
_PROBING = 1.0  # what those are told to wait who come while one call is being tried
_MAX_SESSIONS = 10_000


class _Pause:
    """A span of time that grows each time it is begun."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times = 0
        self._since = self._length = 0.0

    def begin(self, asked: float | None) -> None:
        """Begins it; the provider may have asked for some length."""
        length = min(_LONGEST, _FIRST * 2**self._times)
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

    __slots__ = ("_circuit", "_era", "probe")

    def __init__(self, circuit: "Circuit", era: int, *, probe: bool) -> None:
        self._circuit = circuit
        self._era = era
        self.probe = probe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.probe and self.valid:
            self._circuit.probing = False  # nothing was told: the next may try

    @property
    def valid(self) -> bool:
        """Whether what becomes of this call still counts."""
        return self._era == self._circuit.era

    def answered(self) -> None:
        """The provider works."""
        if self.valid:
            self._circuit.close()

    def lost(self) -> None:
        """It was asked, and no usable answer came."""
        if self.valid:
            self._circuit.lost()

    def failed(self, retry_after: float | None) -> None:
        """It cannot be reached, or has asked to wait (seconds), or refuses everybody."""
        if self.valid:
            self._circuit.open(retry_after)


class Circuit:
    """Whether the provider is asked at all. `opened` is told when that changes."""

    def __init__(self, clock: Callable[[], float], opened: Callable[[bool], None]) -> None:
        self.era = 0  # counts the changes
        self.probing = False
        self._opened = opened
        self._open = False
        self._lost = 0
        self._pause = _Pause(clock)

    def left(self) -> float:
        """Seconds until it is worth asking; 0 if it may be asked now."""
        if not self._open:
            return 0.0
        return self._pause.left() or (_PROBING if self.probing else 0.0)

    def permit(self) -> Permit | None:
        """Leave to ask, if it may be asked now."""
        if self.left():
            return None
        self.probing = self._open
        return Permit(self, self.era, probe=self._open)

    def close(self) -> None:
        """All may ask."""
        self._lost = 0
        if self._open:
            self._change(to_open=False)
            self._pause.forget()

    def lost(self) -> None:
        """One more answer that did not come."""
        self._lost += 1
        if self._open or self._lost >= LOST_IN_A_ROW:
            self.open(None)

    def open(self, retry_after: float | None) -> None:
        """Nobody may ask for a while."""
        self._change(to_open=True)
        self._pause.begin(retry_after)

    def _change(self, *, to_open: bool) -> None:
        self.era += 1
        self.probing = False
        self._lost = 0
        if to_open != self._open:
            self._open = to_open
            self._opened(to_open)


class SessionPauses:
    """Sessions whose tokens were refused, or whose answers got lost: they alone wait. Bounded."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pauses: dict[str, _Pause] = {}

    def left(self, key: str) -> float:
        """Seconds until this session's token may be sent again."""
        pause = self._pauses.get(key)
        return 0.0 if pause is None else pause.left()

    def begin(self, key: str, asked: float | None) -> None:
        """This session waits, longer each time."""
        pause = self._pauses.pop(key, None) or _Pause(self._clock)
        self._pauses[key] = pause
        pause.begin(asked)
        if len(self._pauses) > _MAX_SESSIONS:
            del self._pauses[next(iter(self._pauses))]

    def forget(self, key: str) -> None:
        """Its tokens were rotated, or it is over."""
        self._pauses.pop(key, None)
