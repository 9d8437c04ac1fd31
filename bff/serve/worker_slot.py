"""A worker's slot: its socket, and who serves there.

Rule 1: a slot keeps its listening socket for as long as somebody serves there, so that a successor takes
over the connections that wait in it: those are reset when its last holder closes it.
Rule 2: a socket where nobody serves is closed at once, and a new one made for the next worker: connections
go to the other workers then.
"""

import asyncio
import socket
from collections.abc import Sequence

from bff.observe.logs import get_logger
from bff.serve.resources import ServerResources
from bff.serve.worker_process import WorkerProcess
from bff.settings.model import Settings
from bff.tasks import Tasks

_LAST_LINES = 2.0  # seconds for the last messages of a worker that has ended

_log = get_logger("bff.serve")


class WorkerSlot:
    """The slot of one worker, filled again when the worker dies.

    Attributes:
        number: from 1.
        worker: who serves here, or is about to.
        successor: who takes over when `worker` has ended: it serves already.
        deaths: of workers, in a row.
        settings: by which it serves, where these are not everybody's: a rolling restart stopped behind it.
        processes: all that have been started and have not ended.
    """

    def __init__(
        self, number: int, resources: ServerResources, command: Sequence[str], lifeline: int, tasks: Tasks
    ) -> None:
        self.number = number
        self.worker: WorkerProcess | None = None
        self.successor: WorkerProcess | None = None
        self.deaths = 0
        self.settings: Settings | None = None
        self.processes: set[WorkerProcess] = set()
        self._resources = resources
        self._command = command
        self._lifeline = lifeline
        self._tasks = tasks
        self._listener: socket.socket | None = None
        self._listening: dict[WorkerProcess, asyncio.Task[None]] = {}

    async def start(self, settings: Settings) -> WorkerProcess:
        """Starts a worker on the slot's socket; OSError if there can be no more processes or sockets."""
        if self._listener is None:
            self._listener = self._resources.worker_socket()
        worker = await WorkerProcess.started(
            self.number, settings, self._listener, self._command, self._lifeline
        )
        _log.debug("worker_started", worker=self.number, pid=worker.pid)
        self.processes.add(worker)
        self._listening[worker] = self._tasks.spawn(worker.link.listen(), name="worker link")
        self._tasks.spawn(self._close_behind(worker), name="worker stop")
        return worker

    async def ended(self, worker: WorkerProcess) -> int:
        """Waits for a worker's end; its exit code."""
        code = await worker.ended()
        self.processes.discard(worker)
        listening = self._listening.pop(worker, None)
        if listening is not None:
            await asyncio.wait([listening], timeout=_LAST_LINES)  # it has read the last message
            listening.cancel()
        return code

    def close(self) -> None:
        """Holds the socket no more (Rule 2); a worker that listens goes on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def abandoned(self, worker: WorkerProcess) -> None:
        """A worker has ended, or takes no more connections: without a successor nobody serves here."""
        if self.worker is worker and self.successor is None:
            self.close()

    async def _close_behind(self, worker: WorkerProcess) -> None:
        """Follows a worker that stops by itself, as after a signal of its own."""
        stopping = self._tasks.spawn(worker.link.stopping.wait(), name="worker stopping")
        ended = self._tasks.spawn(worker.ended(), name="worker ended")
        _, waiting = await asyncio.wait([stopping, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        self.abandoned(worker)
