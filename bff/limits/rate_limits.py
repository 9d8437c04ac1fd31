"""The limits on how often, shared by all processes of a deployment.

Rule 1: a limit fails open: where Redis does not answer within `limits.timeout` the act goes on, is counted
as unchecked, and the log says so once. Only the limit of each process by itself (`Quota.wall`) still holds.
Rule 2: an outage costs one wait, not one for each act: for `PAUSE` seconds Redis is not asked, then one act
tries for all.
Rule 3: a refused client is refused from memory for a second, or until its time: a flood costs Redis little.
"""

import asyncio
from collections.abc import Callable

from bff.errors import StoreUnavailableError
from bff.observe.logs import audit, get_logger
from bff.observe.metrics import Metrics
from bff.policy.quota import Limited, Quota
from bff.policy.rate_limiter import RateLimiter
from bff.session.rate_counts import RateCounts

PAUSE = 1.0
"""Seconds for which Redis is left alone after it failed to answer."""

_REMEMBERED = 1.0  # seconds
_MOST_REFUSED = 10_000
_AUDITED_PER_MINUTE = 6  # events of one client and limit

_log = get_logger("bff.limits")


class RateLimits:
    """The limits of a process, and of all those that share its Redis.

    `clock` gives seconds, monotonic; `timeout` bounds each wait for Redis. Each `frontend` counts by itself.
    """

    def __init__(
        self,
        counts: RateCounts,
        *,
        timeout: float,
        metrics: Metrics,
        clock: Callable[[], float],
        frontend: str = "",
    ) -> None:
        self._counts = counts
        self._frontend = frontend
        self._scope = f"{frontend}/" if frontend else ""
        self.timeout = timeout
        self._metrics = metrics
        self._clock = clock
        self._walls: dict[str, RateLimiter] = {}
        self._refused: dict[str, tuple[float, float]] = {}  # when to look again; when its time comes
        self._audited = RateLimiter(_AUDITED_PER_MINUTE, burst=1)
        self._out = False
        self._ask_again = 0.0

    async def over(
        self, quota: Quota, who: str, *, address: str, session: str | None = None, sub: str | None = None
    ) -> Limited | None:
        """Takes one act of `who` from a quota: None, or the refusal.

        `address`, `session` and `sub` are for the audit event.
        """
        who = self._scope + who
        wait = self._wall(quota, who) or await self._shared(quota, who)
        if not wait:
            return None
        self._metrics.rate_limited(quota.name)
        if self._audited.allow(f"{quota.name}:{who}", self._clock()) is None:
            whose = {"sub": sub, "session": session, "frontend": self._frontend}
            audit("rate_limited", **whose, address=address, reason=quota.name)
        return Limited(quota, wait)

    def _wall(self, quota: Quota, who: str) -> float | None:
        if not quota.wall:
            return None
        limiter = self._walls.get(quota.name)
        if limiter is None:
            limiter = self._walls[quota.name] = RateLimiter.of(quota)
        return limiter.allow(who, self._clock())

    async def _shared(self, quota: Quota, who: str) -> float:
        name, now = f"{quota.name}:{who}", self._clock()
        look_again, its_time = self._refused.get(name, (now, now))
        if now < look_again:
            return its_time - now
        self._refused.pop(name, None)
        if now < self._ask_again:
            self._metrics.limit_unchecked(quota.name)
            return 0.0
        if self._out:
            self._ask_again = now + self.timeout  # this act tries for all
        try:
            wait = await self._ask(quota, who)
        except (StoreUnavailableError, TimeoutError) as failure:
            self._failed(quota, failure)
            return 0.0
        if self._out:
            self._out, self._ask_again = False, 0.0
            _log.info("limits_shared_again")
        if wait:
            self._remember(name, wait)
        return wait

    async def _ask(self, quota: Quota, who: str) -> float:
        """Returns Redis' answer, or raises TimeoutError.

        A process under load is late itself: its wait is longer by as long as it was, so that a flood does
        not lift the limit that is to hold it.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + self.timeout
        async with asyncio.timeout(None) as bound:

            def end() -> None:
                now = loop.time()
                bound.reschedule(now + min(now - due, self.timeout))

            timer = loop.call_at(due, end)
            try:
                return await self._counts.take(quota, who)
            finally:
                timer.cancel()

    def _failed(self, quota: Quota, failure: Exception) -> None:
        self._metrics.limit_unchecked(quota.name)
        self._ask_again = self._clock() + PAUSE
        if not self._out:
            self._out = True
            _log.warning(
                "limits_not_shared",
                limit=quota.name,
                detail=str(failure) or "Redis: no answer in time",
                problem="limits on how often hold within each process at most, until Redis answers",
            )

    def _remember(self, name: str, wait: float) -> None:
        now = self._clock()
        self._refused[name] = (now + min(wait, _REMEMBERED), now + wait)
        if len(self._refused) > _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
