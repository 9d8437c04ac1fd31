"""The lock that keeps two processes from spending one refresh token: `<prefix>:lock:<key>`.

Rule 1: it has an owner and an end, and is prolonged while it is held: a process that dies leaves it behind
for `LEASE` seconds, a rotation that takes long does not lose it.
Rule 2: it is no fence. What a rotation writes is a compare-and-set on `version`; the lock only spares the
provider, and the family of tokens, a second use.
Rule 3: whether it is still held is told by our own clock, counted from before the last word to Redis.
"""

import asyncio
import secrets
import time

from bff.errors import StoreUnavailableError
from bff.session.store import SessionStore

LEASE = 5.0
"""Seconds after which a lock that nobody prolongs is free."""

_PROLONG_EVERY = 1.5
_MARGIN = 0.5  # of the lease, for what is sent while it ends


class SessionLock:
    """One attempt at one session's lock; `take`, then `prolong` beside the work, then `release`."""

    def __init__(self, store: SessionStore, key: str) -> None:
        self._store = store
        self._key = key
        self._owner = secrets.token_hex(8)
        self._until = 0.0

    async def take(self) -> bool:
        """True if it is ours now. Raises StoreUnavailableError."""
        asked = time.monotonic()
        taken = await self._store.take_lock(self._key, self._owner, lifetime=LEASE)
        if taken:
            self._until = asked + LEASE
        return taken

    @property
    def held(self) -> bool:
        """Whether it is ours for a moment yet."""
        return time.monotonic() < self._until - _MARGIN

    async def prolong(self) -> None:
        """Keeps it, until cancelled or lost."""
        while True:
            await asyncio.sleep(_PROLONG_EVERY)
            asked = time.monotonic()
            try:
                if not await self._store.prolong_lock(self._key, self._owner, lifetime=LEASE):
                    self._until = 0.0
                    return
            except StoreUnavailableError:
                continue  # it may be ours yet; `held` says for how long
            self._until = asked + LEASE

    async def release(self) -> None:
        """Gives it up, if it is ours; a store that is down lets it run out."""
        try:
            await self._store.release_lock(self._key, self._owner)
        except StoreUnavailableError:
            return
