"""The rate limiter of one process: how often each key may act, in bounded memory. Pure.

Rule 1: the number of keys is bounded; the one not seen for longest is forgotten first. A client with that
many keys is not stopped by a limit on how often, and costs no memory either.
"""

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
