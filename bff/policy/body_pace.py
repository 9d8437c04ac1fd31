"""The pace at which a request's body has to come: a client that trickles is late. Pure."""

import math

from bff.settings.model import RouteSettings


class BodyPace:
    """The pace at which a request's body has to come. All times are seconds of one clock.

    Each byte buys `1 / body_min_rate` seconds, and no more than `body_rate_window` can be had in advance: a
    burst does not pay for hours of trickling. `body_total_timeout` bounds the whole. Time in which we do not
    take the body does not count. A rate of 0 sets no pace.
    """

    __slots__ = ("_due", "_ends", "_rate", "_stopped_at", "_window")

    def __init__(self, settings: RouteSettings, now: float) -> None:
        self._rate = settings.body_min_rate
        self._window = settings.body_rate_window
        self._due = now + self._window if self._rate else math.inf
        self._ends = now + settings.body_total_timeout
        self._stopped_at: float | None = now

    def took(self, size: int, now: float) -> None:
        """Counts bytes that have come."""
        if self._rate:
            self._due = min(self._due + size / self._rate, now + self._window)

    def stop(self, now: float) -> None:
        """Notes that the body is not taken for now."""
        if self._stopped_at is None:
            self._stopped_at = now

    def go_on(self, now: float) -> None:
        """Notes that the body is taken, or taken again."""
        if self._stopped_at is not None:
            self._due += now - self._stopped_at
            self._ends += now - self._stopped_at
            self._stopped_at = None

    @property
    def due(self) -> float:
        """The time from which the body is late: infinite while it is not taken."""
        return min(self._due, self._ends) if self._stopped_at is None else math.inf
