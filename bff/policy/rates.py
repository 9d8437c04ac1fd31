"""Limits for each key, in bounded memory: how often, how many at once, how slowly. Pure.

Rule 1: the number of keys is bounded; the one not seen for longest is forgotten first. A client with that
many keys is not stopped by a limit on how often, and costs no memory either.
"""

import math

from bff.policy.quota import Quota


class RateLimiter:
    """Lets each key act `per_minute` times a minute, and `burst` times at once.

    A bucket is kept as one number, the time at which it will be full again (the generic cell rate
    algorithm: the same as a token bucket).
    """

    def __init__(self, per_minute: float, burst: int | None = None, max_keys: int = 10_000) -> None:
        self._interval = 60.0 / per_minute
        self._slack = self._interval * ((round(per_minute) if burst is None else burst) - 1)
        self._max_keys = max_keys
        self._full_at: dict[str, float] = {}

    @classmethod
    def of(cls, quota: Quota) -> "RateLimiter":
        """A limiter of one process that keeps a quota."""
        return cls(60.0 / quota.interval, burst=quota.limit)

    def __len__(self) -> int:
        return len(self._full_at)

    def allow(self, key: str, now: float) -> float | None:
        """Takes one act of `key` at `now`: returns None, or the seconds after which to try again."""
        full_at = max(self._full_at.pop(key, now), now)
        wait = full_at - now - self._slack
        allowed = wait <= 1e-9  # noqa: PLR2004 - sums of floats
        self._full_at[key] = full_at + self._interval if allowed else full_at
        if len(self._full_at) > self._max_keys:
            del self._full_at[next(iter(self._full_at))]
        return None if allowed else wait


class Counts:
    """A bound on the things that each key has under way at once."""

    def __init__(self, limit: int, former: "Counts | None" = None) -> None:
        """`former` had another bound: what it counts is still under way, and counts on."""
        self._limit = limit
        self._under_way: dict[str, int] = {} if former is None else former._under_way  # noqa: SLF001 - of its own kind

    def __len__(self) -> int:
        return len(self._under_way)

    def enter(self, key: str) -> bool:
        """Counts one more, and says so; False where the limit is reached."""
        count = self._under_way.get(key, 0)
        if count >= self._limit:
            return False
        self._under_way[key] = count + 1
        return True

    def leave(self, key: str) -> None:
        """Takes one that was counted, and is over, out of the count."""
        count = self._under_way[key] - 1
        if count:
            self._under_way[key] = count
        else:
            del self._under_way[key]


class BodyPace:
    """The pace at which a request's body has to come. All times are seconds of one clock.

    Each byte buys `1 / rate` seconds, and no more than `window` seconds can be had in advance: a burst does
    not pay for hours of trickling. `total` bounds the whole. Time in which we do not take the body does not
    count. A rate of 0 sets no pace.
    """

    __slots__ = ("_due", "_ends", "_rate", "_stopped_at", "_window")

    def __init__(self, rate: float, window: float, total: float, now: float) -> None:
        self._rate = rate
        self._window = window
        self._due = now + window if rate else math.inf
        self._ends = now + total
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
