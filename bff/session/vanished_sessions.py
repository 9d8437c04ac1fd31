"""Endings that nobody here brought about: by `redis-cli DEL`, by expiry, by eviction. They are audited, too.

Rule 1: the feed names sessions that have changed, and Redis says which of those are gone. Of all processes of
a deployment one looks, the auditor; the others keep the names for a while, so that the next auditor finds
what the last one has left undone.
Rule 2: any process tells of a session that a request finds gone: a feed that was lost has not told it.
Rule 3: each ending is told once: it is claimed in Redis first (`Endings.claim`). Where a process dies between
claim and line nobody tells of it.
Rule 4: an ending with a note is told by the process that ended it. One that has not done so after `GRACE` has
died over it, or lost Redis.
Rule 5: an ending by an operator's command is told by the command, which has no metrics: the auditor counts.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import takewhile

from bff.errors import StoreUnavailableError
from bff.observe.logs import audit, get_logger
from bff.observe.metrics import Metrics
from bff.session.end_reasons import Ended, Endings, Trace, untold
from bff.session.invalidation_feed import steady_now
from bff.session.model import ID_LENGTH, EndReason
from bff.tasks import Tasks

EVERY = 1.0
"""Seconds between two looks."""

LEASE = 15.0
"""Seconds for which one process is the auditor; it renews that three times meanwhile."""

GRACE = 5.0
"""Seconds that the process that ended a session has to tell of it."""

_KEPT = 2 * LEASE
_MOST = 100_000  # names: some 16 MB
_LAST_MOMENT = 1.0
_AT_ONCE = 100  # sessions in one round trip
_KEY = re.compile(r"[0-9a-f]{64}")

_log = get_logger("bff.endings")


class VanishedSessions:
    """Tells of them; a listener of the feed. `clock` gives steady seconds."""

    def __init__(
        self,
        *,
        endings: Endings,
        metrics: Metrics,
        every: float = EVERY,
        clock: Callable[[], float] = steady_now,
        ended: Ended = untold,
    ) -> None:
        self._endings = endings
        self._metrics = metrics
        self._every = every
        self._clock = clock
        self._ended = ended
        self._name = secrets.token_hex(8)
        self._changed: dict[str, float] = {}  # when each was named, the oldest first
        self._missed: set[str] = set()
        self._later: dict[str, float] = {}  # when to look again
        self._leads_until = self._ask_at = 0.0
        self._evictions: int | None = None
        self._overflowed = False
        self._tasks = Tasks()

    def changed(self, key: str | None) -> None:
        """The feed's word: this session was written, or is gone."""
        if key is None:
            return
        self._changed.pop(key, None)
        if len(self._changed) < _MOST:
            self._changed[key] = self._clock()
        elif not self._overflowed:
            self._overflowed = True
            _log.warning("endings_unwatched", detail=f"more than {_MOST} sessions changed at once")

    def missed(self, key: str) -> None:
        """A request's finding: there is no such session."""
        if len(self._missed) < _MOST:
            self._missed.add(key)

    async def start(self) -> None:
        """Begins to look."""
        self._tasks.spawn(self._run(), name="silent endings")

    async def aclose(self) -> None:
        """Stops, and lets another process be the auditor."""
        await self._tasks.cancel_all()
        if self.leads:
            with suppress(StoreUnavailableError, TimeoutError):  # then it ends by itself
                async with asyncio.timeout(_LAST_MOMENT):
                    await self._endings.retire(self._name)

    async def look(self) -> None:
        """Looks once; StoreUnavailableError, and then the rest is done at the next look."""
        missed, self._missed = self._missed, set()
        try:
            await self._tell(missed, pushed=False)
        except StoreUnavailableError:
            self._missed |= missed
            raise
        now = self._clock()
        due = [key for key, at in self._later.items() if at <= now]
        await self._tell(due, pushed=False)
        for key in due:
            self._later.pop(key, None)
        await self._lead(now)
        if self.leads:
            await self._look_at_changes()
        else:
            self._forget_old(now)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.look()
            except StoreUnavailableError:
                self._leads_until = 0.0

    @property
    def leads(self) -> bool:
        """True while this process is the auditor."""
        return self._clock() < self._leads_until

    async def _lead(self, now: float) -> None:
        """Makes this process the auditor, or keeps it so, where no other is; asks not too often."""
        if now < self._ask_at:
            return
        led, self._ask_at = self.leads, now + LEASE / 3
        if not await self._endings.lead(self._name, LEASE):
            self._leads_until = 0.0
        else:
            self._leads_until = now + LEASE
            if not led:
                self._evictions = await self._endings.evictions()

    async def _look_at_changes(self) -> None:
        """Looks at those that were named until now: in busy times the next ones come while it does."""
        named, self._changed = self._changed, {}
        keys, looked_at = list(named), 0
        try:
            while looked_at < len(keys):
                some = keys[looked_at : looked_at + _AT_ONCE]
                await self._tell([key for key in some if _KEY.fullmatch(key)], pushed=True)
                looked_at += _AT_ONCE
        except StoreUnavailableError:
            self._changed = {key: named[key] for key in keys[looked_at:]} | self._changed
            raise
        self._overflowed = False

    async def _tell(self, keys: Iterable[str], *, pushed: bool) -> None:
        waiting = sorted(keys)
        for at in range(0, len(waiting), _AT_ONCE):
            gone = await self._endings.gone(waiting[at : at + _AT_ONCE])
            await self._tell_of(gone, pushed=pushed)

    async def _tell_of(self, gone: Mapping[str, Trace], *, pushed: bool) -> None:
        untold: dict[str, Trace] = {}
        for key, trace in gone.items():
            if pushed and trace.note is EndReason.OPERATOR:
                self._metrics.session_ended(trace.note)
                self._ended(key[:ID_LENGTH], trace.sub, trace.note)
            if trace.told or (not trace.marked and (trace.note is not None or not pushed)):
                continue
            if trace.note is not None and key not in self._later:
                self._later[key] = self._clock() + GRACE
            else:
                untold[key] = trace
        ours = await self._endings.claim(untold) if untold else {}
        deleted = (
            await self._how_deleted() if any(not one.note and not one.due for one in ours.values()) else ""
        )
        for key, trace in ours.items():
            reason = trace.note or trace.due or deleted
            if reason is not EndReason.OPERATOR:
                self._metrics.session_ended(reason)
            audit("session_ended", session=key, sub=trace.sub, reason=reason, provider_revoked=False)
            if reason is not EndReason.OPERATOR:
                self._ended(key[:ID_LENGTH], trace.sub, reason)

    async def _how_deleted(self) -> str:
        """Returns "evicted" where Redis says that it was short of memory meanwhile, else "deleted"."""
        before, self._evictions = self._evictions, await self._endings.evictions()
        grew = before is not None and self._evictions is not None and self._evictions > before
        return "evicted" if grew else "deleted"

    def _forget_old(self, now: float) -> None:
        """Drops the names that the auditor has had the time to look at, and a next one as well."""
        for key in list(takewhile(lambda key: now - self._changed[key] >= _KEPT, self._changed)):
            del self._changed[key]
