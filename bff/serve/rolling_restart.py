"""A rolling restart: each worker replaced by a successor that serves before it stops.

Rule 1: nothing is replaced by settings that cannot be used, or that the supervisor itself would need.
Rule 2: a successor that does not come to serve stops the roll: it is ended, and the former worker goes on.
Rule 3: the successor listens on the same socket, so that no connection is lost on its way; the former worker
lets each connection carry one last answer, and closes WebSockets by their close frame.
Rule 4: one after the other: the next is replaced when the former worker of this slot has ended. One that has
not a little after its time to stop is killed: it would keep up the roll, and every reload behind it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from bff.observe.logs import get_logger
from bff.serve.resources import LAST_WORDS
from bff.serve.worker_process import WorkerProcess, cause_of_end
from bff.serve.worker_slot import WorkerSlot
from bff.settings.changes import FIXED, compare
from bff.settings.model import ServerSettings, Settings
from bff.tasks import Tasks

GRACE: Final = 2.0
"""Seconds beyond a worker's own time to stop."""

_log = get_logger("bff.serve")


def stop_limit(server: ServerSettings) -> float:
    """Returns the seconds after which a worker that was told to stop is killed."""
    return server.shutdown_delay + server.shutdown_timeout + LAST_WORDS + GRACE


def fixed(current: Settings, newer: Settings) -> list[str]:
    """The changed settings that only a restart of the whole service puts in force."""
    names = [name for name in compare(current, newer).left if name in FIXED]
    if current.redis.url != newer.redis.url and "embedded" in {
        settings.redis.url.get_secret_value() for settings in (current, newer)
    }:
        names.append("redis.url")
    return names


class Roll:
    """One rolling restart.

    Args:
        slots: the slots, in turn.
        tasks: where it waits.
        start_timeout: seconds within which a successor has to serve.
        stopping: True once the service stops.
        limit: seconds after which a former worker is killed.
    """

    def __init__(
        self,
        slots: Sequence[WorkerSlot],
        tasks: Tasks,
        start_timeout: float,
        stopping: Callable[[], bool],
        limit: float,
    ) -> None:
        self._slots = slots
        self._tasks = tasks
        self._start_timeout = start_timeout
        self._stopping = stopping
        self._limit = limit

    async def run(self, settings: Settings) -> bool:
        """Replaces every worker; False if the roll was stopped."""
        done: list[int] = []
        for slot in self._slots:
            if not await self._replace(slot, settings):
                if not self._stopping():
                    left = [slot.number for slot in self._slots if slot.number not in done]
                    _log.error("roll_stopped", replaced=done, serve_on=left)
                return False
            done.append(slot.number)
        for slot in self._slots:
            slot.settings = None
        _log.info("rolled", workers=len(done))
        return True

    async def _replace(self, slot: WorkerSlot, settings: Settings) -> bool:
        former = slot.worker
        if former is None or not await self._serves(former):
            slot.settings = settings  # no worker serves here: its successor gets the new settings
            return not self._stopping()
        try:
            successor = await slot.start(settings)
        except OSError as error:
            _log.error("worker_not_started", worker=slot.number, detail=str(error))
            return False
        if self._stopping():  # it was not there yet when all were told to stop
            successor.link.order("stop")
        if not await self._comes_up(slot, successor):
            return False
        if self._stopping():
            await slot.ended(successor)
            return False
        if slot.worker is not former:  # it died meanwhile, and was replaced by the former settings
            successor.link.order("stop")
            self._tasks.spawn(slot.ended(successor), name="spare worker")
            return await self._replace(slot, settings)
        slot.successor, slot.settings = successor, settings
        _log.info("worker_serving", worker=slot.number, pid=successor.pid, replaces=former.pid)
        former.link.order("retire")
        return await self._follows(slot, former, successor)

    async def _serves(self, worker: WorkerProcess) -> bool:
        """Waits until a worker serves; False if it ends before, or takes too long."""
        serving = self._tasks.spawn(worker.link.serving.wait(), name="worker serves")
        ended = self._tasks.spawn(worker.ended(), name="worker ended")
        _, waiting = await asyncio.wait(
            [serving, ended], timeout=self._start_timeout, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting:
            task.cancel()
        return worker.serves and not worker.has_ended

    async def _comes_up(self, slot: WorkerSlot, successor: WorkerProcess) -> bool:
        if await self._serves(successor):
            return True
        if successor.has_ended:
            cause = cause_of_end(await successor.ended())
            if not self._stopping():
                _log.error("successor_ended", worker=slot.number, pid=successor.pid, **cause)
        else:
            limit = self._start_timeout
            _log.error("worker_start_timed_out", worker=slot.number, pid=successor.pid, limit=limit)
            successor.kill()
        await slot.ended(successor)
        return False

    async def _follows(self, slot: WorkerSlot, former: WorkerProcess, successor: WorkerProcess) -> bool:
        """Waits until the former worker has ended, by force in the end; False if the successor did first."""
        first = self._tasks.spawn(former.ended(), name="former worker ended")
        second = self._tasks.spawn(successor.ended(), name="successor ended")
        ends = [first, second]
        done, waiting = await asyncio.wait(ends, timeout=self._limit, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            _log.error("worker_killed", worker=slot.number, pid=former.pid)
            former.kill()
            done, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if first.done():
            return True
        slot.close()  # nobody takes the connections that wait there
        return False
