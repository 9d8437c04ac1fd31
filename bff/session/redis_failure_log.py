"""Failures of Redis in the log: each kind at once, then once in a minute with the number since.

A call's own line has its status alone, and an outage of a minute fails calls by the thousand.
"""

from collections import Counter
from collections.abc import Callable

from bff.observe.logs import get_logger
from bff.session.redis_errors import trouble

_PAUSE = 60.0  # seconds between two lines about the same

_log = get_logger("bff.session")


class FailureLog:
    """The failures that one process has met. `clock` gives seconds, steadily."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}  # by the detail, of which there are few
        self._untold: Counter[str] = Counter()

    def tell(self, failure: BaseException) -> None:
        """Writes what failed and the remedy, unless that was written a moment ago."""
        found, now = trouble(failure), self._clock()
        self._untold[found.detail] += 1
        if now >= self._due.get(found.detail, now):
            self._due[found.detail] = now + _PAUSE
            times = self._untold.pop(found.detail)
            _log.warning("redis_failed", detail=found.detail, fix=found.fix, times=times)
