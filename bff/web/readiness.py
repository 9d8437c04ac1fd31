"""The checks behind `/readyz`: whether requests may come to this process.

Rule 1: readiness is about this process and Redis. All processes of a fleet lose the provider at the same
moment, and each still serves the sessions there are: taking them out would end working sessions.
Rule 2: no check waits for the provider, nor for Redis longer than `PATIENCE`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bff.errors import StoreUnavailableError
from bff.oidc.client import OidcClient
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.redis_errors import trouble
from bff.session.store import SessionStore

PATIENCE = 3.0
"""Seconds that Redis may take; less than the ops port waits for all checks."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. Where it is not `needed`, requests may come even if it fails."""

    name: str
    ok: bool
    detail: str
    needed: bool = True


class ReadinessChecks:
    """The checks of one process; `without_redis` says that it is ready though Redis is away."""

    def __init__(
        self,
        *,
        store: SessionStore,
        feed: InvalidationFeed,
        clients: Sequence[OidcClient],
        without_redis: bool,
    ) -> None:
        self._store = store
        self._feed = feed
        self._clients = clients
        self._without_redis = without_redis

    async def made(self) -> list[Check]:
        """Looks whether Redis takes writes and keeps them, and tells of its changes; what of the provider."""
        return [await self._redis(), self._changes(), *map(self._provider, self._clients)]

    async def _redis(self) -> Check:
        needed = not self._without_redis
        try:
            async with asyncio.timeout(PATIENCE):
                readiness = await self._store.readiness()
        except TimeoutError:
            return Check("redis", ok=False, detail=f"no answer within {PATIENCE:g} s", needed=needed)
        except StoreUnavailableError as failure:
            cause = failure.__cause__
            detail = str(failure) if cause is None else trouble(cause).detail
            return Check("redis", ok=False, detail=detail, needed=needed)
        if readiness.eviction_policy not in {None, "noeviction"}:
            return Check("redis", ok=False, detail=f"maxmemory-policy is {readiness.eviction_policy}")
        return Check("redis", ok=True, detail="writable", needed=needed)

    def _changes(self) -> Check:
        """The check of the feed of changes: without it the proxy is slower, and none the less ready."""
        if self._feed.trusted:
            return Check("changes", ok=True, detail="followed", needed=False)
        detail = f"not followed, Redis is asked each time: {self._feed.problem}"
        return Check("changes", ok=True, detail=detail, needed=False)

    def _provider(self, client: OidcClient) -> Check:
        name = f"provider {client.settings.name}" if len(self._clients) > 1 else "provider"
        keys = client.documents.keys_at_hand()
        if keys is None:
            why = client.documents.missing_because or "not asked yet"
            detail = f"sign-ins wait for it, sessions are served: {why}"
            return Check(name, ok=False, detail=detail, needed=False)
        return Check(name, ok=bool(keys), detail=f"{len(keys)} signing keys", needed=False)
