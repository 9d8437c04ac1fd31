"""The number of sessions that live, for a metric: one process of a deployment counts them now and then.

Rule 1: only the auditor counts (`vanished_sessions.py`): a deployment has one, whatever it has of processes.
Rule 2: a count takes a small share of Redis' time: after each part it rests for `RESTS` times as long as that
took. So a count of millions takes minutes, and one of thousands a moment.
Rule 3: an account that may not ask is told of once, and asked again seldom; nothing else depends on it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from bff.errors import StoreUnavailableError
from bff.observe.logs import get_logger
from bff.observe.metrics import LiveSessions
from bff.session.inventory import Part
from bff.tasks import Tasks

EVERY = 60.0
"""Seconds between two counts."""

RESTS = 30

_LEAST_REST = 0.01
_AFTER_FAILURE = 600.0
_log = get_logger("bff.sessions")


class Scanner(Protocol):
    """Finds all sessions, in parts."""

    def scan(self) -> AsyncIterator[Part]:
        """The keys of all sessions."""
        ...


class LiveCount:
    """Counts while `leads` says that this process is the one; the number stands in `shown`."""

    def __init__(
        self, scanner: Scanner, leads: Callable[[], bool], shown: LiveSessions, *, every: float = EVERY
    ) -> None:
        self._scanner = scanner
        self._leads = leads
        self._shown = shown
        self._every = every
        self._tasks = Tasks()
        self._told = False

    async def start(self) -> None:
        """Begins to count."""
        self._tasks.spawn(self._run(), name="live sessions")

    async def aclose(self) -> None:
        """Stops."""
        await self._tasks.cancel_all()
        self._shown.number = None

    async def _run(self) -> None:
        while True:
            rest = min(self._every, 1.0)  # until this process leads
            if not self._leads():
                self._shown.number = None
            else:
                try:
                    self._shown.number = await self._counted()
                    rest = self._every
                except StoreUnavailableError as failure:
                    self._shown.number = None
                    rest = _AFTER_FAILURE
                    if not self._told:
                        self._told = True
                        _log.info("sessions_not_counted", detail=str(failure))
            await asyncio.sleep(rest)

    async def _counted(self) -> int:
        number = 0
        began = time.monotonic()
        async for part in self._scanner.scan():
            number += len(part.keys)
            if part.cursor:
                await asyncio.sleep(max(_LEAST_REST, RESTS * (time.monotonic() - began)))
                began = time.monotonic()
        return number
