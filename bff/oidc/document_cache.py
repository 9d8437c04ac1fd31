"""A document of the provider, kept: fetched by one for all, renewed when old, and used through an outage.

Rule 1: one fetch at a time; it belongs to no request, so that no disconnect cancels it.
Rule 2: a document that was good stays in use until a newer one is: a provider that cannot be reached takes
nothing away.
Rule 3: a fetch that failed, and one that was forced, is not repeated before `PAUSE`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bff.errors import ProviderUnavailableError
from bff.observe.logs import get_logger
from bff.tasks import Tasks

T = TypeVar("T")
PAUSE = 5.0
"""Seconds between two fetches that something other than age asked for."""

_log = get_logger("bff.oidc")


@dataclass(frozen=True, slots=True)
class _Good(Generic[T]):
    value: T
    at: float
    asked: float


class DocumentCache(Generic[T]):
    """One document. `fetch` raises `ProviderUnavailableError` for all that can go wrong with it."""

    def __init__(
        self,
        name: str,
        fetch: Callable[[], Awaitable[T]],
        *,
        lifetime: float,
        clock: Callable[[], float],
        tasks: Tasks,
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._lifetime = lifetime
        self._clock = clock
        self._tasks = tasks
        self._good: _Good[T] | None = None
        self._failed: tuple[ProviderUnavailableError, float] | None = None
        self._running: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """The document; a fetch is waited for only where there is none, or a very old one.

        Raises:
            ProviderUnavailableError: there has never been a good one.
        """
        good, now = self._good, self._clock()
        if good is not None and 0 <= now - good.at < self._lifetime:  # below 0: the clock was put back
            return good.value
        if good is not None and (self._resting(now) or now - good.at < 2 * self._lifetime):
            self._start(now)
            return good.value
        await self._wait(now)
        return self._best()

    def at_hand(self) -> T | None:
        """The document if there is one; a fetch begins where there is none, or an old one."""
        good, now = self._good, self._clock()
        if good is None or not 0 <= now - good.at < self._lifetime:
            self._start(now)
        return None if good is None else good.value

    @property
    def failure(self) -> str | None:
        """The reason why the last fetch failed; None if it did not."""
        return None if self._failed is None else str(self._failed[0])

    async def renew(self) -> T:
        """The document as it is at the provider now, unless it has just been fetched, or cannot be."""
        good, now = self._good, self._clock()
        if good is None or not 0 <= now - good.at < PAUSE:
            await self._wait(now)
        return self._best()

    def asked_since(self, moment: float) -> bool:
        """True if the document at hand was asked for at `moment` or later."""
        return self._good is not None and self._good.asked >= moment

    def _best(self) -> T:
        if self._good is not None:
            return self._good.value
        assert self._failed is not None, "a fetch that ended without either raises in its callers"
        error, _ = self._failed
        raise ProviderUnavailableError(str(error), error.retry_after)

    def _resting(self, now: float) -> bool:
        return self._failed is not None and 0 <= now - self._failed[1] < PAUSE

    def _start(self, now: float) -> asyncio.Task[None] | None:
        if self._running is None and not self._resting(now):
            self._running = self._tasks.spawn(self._run(), name=f"fetch {self._name}")
        return self._running

    async def _wait(self, now: float) -> None:
        running = self._start(now)
        if running is not None:
            await asyncio.shield(running)

    async def _run(self) -> None:
        asked = self._clock()
        try:
            self._good = _Good(await self._fetch(), self._clock(), asked)
            self._failed = None
        except ProviderUnavailableError as error:
            self._failed = (error, self._clock())
            _log.warning("provider_document_unavailable", document=self._name, problem=str(error))
        finally:
            self._running = None
