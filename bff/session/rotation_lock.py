"""The lock that keeps two processes from spending one refresh token: `<prefix>:lock:<key>`.

Rule 1: it has an owner and an end, and is prolonged while it is held: a process that dies leaves it behind
for `LEASE` seconds, a rotation that takes long does not lose it.
Rule 2: it is no fence. What a rotation writes is a compare-and-set on `version`; the lock only spares the
provider, and the family of tokens, a second use.
Rule 3: whether it is still held is told by our own clock, counted from before the last word to Redis.
Rule 4: one that was lost while nobody else wanted it (Redis was away for longer than the lease) is taken
again, to keep others off; but it is `held` no more: somebody may have come and gone meanwhile.
Rule 5: one of which this process does not know whether it got it, or got rid of it, because Redis did not
answer, is its next attempt's: nobody else in the process is at that session. Each attempt is an owner of its
own, so that a late word of a former one frees nothing.
"""

import asyncio
import secrets

from bff.errors import StoreUnavailableError
from bff.session.invalidation_feed import steady_now
from bff.session.redis_locks import RedisLocks
from bff.tasks import to_be_cancelled

LEASE = 5.0
"""Seconds after which a lock that nobody prolongs is free."""

_PROLONG_EVERY = 1.5
_TRY_AGAIN = 0.25  # after a store that did not answer
_MOST_UNSURE = 8, 10_000  # owners of a session, sessions
_MARGIN = 0.5  # of the lease, for a request that is sent while it ends


class SessionLock:
    """One attempt at one session's lock; `take`, then `prolong` beside the work, then `release`.

    `unsure` is the process' own memory of former owners that may have it, by the session's key.
    """

    def __init__(self, locks: RedisLocks, key: str, unsure: dict[str, tuple[str, ...]] | None = None) -> None:
        self._locks = locks
        self._key = key
        self._unsure = {} if unsure is None else unsure
        self._owner = secrets.token_hex(8)
        self._until = 0.0
        self._lapsed = False
        self._given_up = False

    async def take(self) -> bool:
        """True if it is ours now. Raises StoreUnavailableError."""
        asked = steady_now()
        formerly = self._unsure.get(self._key, ())
        try:
            taken = await self._locks.take(self._key, self._owner, lifetime=LEASE, formerly=formerly)
        except StoreUnavailableError:
            self._remember()
            raise
        self._unsure.pop(self._key, None)
        if taken:
            self._until, self._lapsed, self._given_up = asked + LEASE, False, False
        return taken

    @property
    def held(self) -> bool:
        """True if the lock has been ours without a gap since it was taken, and is for a moment yet."""
        return not self._lapsed and steady_now() < self._until - _MARGIN

    async def prolong(self) -> None:
        """Keeps it, until cancelled, given up, or taken by somebody else.

        A cancellation can get lost in a call to Redis, whatever the call's outcome: up to Python 3.11
        `asyncio.wait_for`, by which redis-py writes, returns if what it waits for has just ended. Both are
        looked at again after each call, or the lock would be held for ever.
        """
        pause = _PROLONG_EVERY
        while not self._given_up:
            await asyncio.sleep(pause)
            if self._given_up:
                return
            asked = steady_now()
            try:
                if not await self._kept():
                    return
            except StoreUnavailableError:
                pause = _TRY_AGAIN  # it may be ours yet; `held` says for how long
            else:
                self._until, pause = asked + LEASE, _PROLONG_EVERY
            if to_be_cancelled():
                raise asyncio.CancelledError

    async def _kept(self) -> bool:
        if await self._locks.prolong(self._key, self._owner, lifetime=LEASE):
            return True
        self._lapsed = True
        return await self._locks.take(self._key, self._owner, lifetime=LEASE)

    async def release(self) -> None:
        """Gives it up, if it is ours; a store that is down lets it run out."""
        self._given_up = True
        try:
            await self._locks.release(self._key, self._owner)
        except StoreUnavailableError:
            self._remember()

    def _remember(self) -> None:
        owners, sessions = _MOST_UNSURE
        known = self._unsure.get(self._key, ())
        if len(known) < owners and len(self._unsure) < sessions:
            self._unsure[self._key] = (*known, self._owner)
