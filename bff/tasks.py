"""Background tasks that outlive the request that started them: named, kept, drained at the end.

Rule 1: this is the only place that creates tasks. The event loop holds tasks by weak references only, so
that a bare `asyncio.create_task` can vanish in the middle of its work, and its error with it.
Rule 2: an error in a task is always logged, whether or not anybody awaits the task.
Rule 3: `drain` never cancels: what was begun here must finish (a refresh that the provider has already
answered), and who gives up waiting says so by calling `cancel_all`.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

from bff.observe.logs import get_logger

T = TypeVar("T")

_CANCEL_AGAIN = 1.0  # seconds: a library may have taken a cancellation for something else

_log = get_logger("bff.tasks")


def to_be_cancelled() -> bool:
    """Return True if the current task was cancelled, even where a library swallowed the cancellation.

    While a connection breaks, a client library can turn a cancellation into an error of its own. A loop that
    continues after errors must call this, or it never ends.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def report(message: str, mistake: Exception) -> None:
    """Has the event loop log a mistake of a function that is no task's, and whose caller goes on."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": mistake})


class Tasks:
    """The tasks of one process. Not thread-safe: it belongs to one event loop."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(
        self, coro: Coroutine[Any, Any, T], *, name: str, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Starts `coro` and keeps it until it is done.

        Await the task through `asyncio.shield`, or a cancelled waiter cancels the task with it.

        Args:
            coro: what to run.
            name: how logs and `drain` call it; it holds no secret.
            context: an empty one for work that is not its beginner's; by default a copy of the current one.

        Returns:
            The running task.
        """
        task = asyncio.create_task(coro, name=name, context=context)  # noqa: TID251 - it is kept here
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def drain(self, timeout: float) -> list[str]:  # noqa: ASYNC109 - running out is an answer here, not an error
        """Waits until no task is left, those included that start meanwhile.

        Args:
            timeout: seconds to wait at most; 0 looks once.

        Returns:
            The names of the tasks that still run, sorted; they go on running.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self._running:
            left = max(0.0, deadline - loop.time())
            _, pending = await asyncio.wait(self._running, timeout=left)
            if pending and loop.time() >= deadline:
                break
        return sorted(task.get_name() for task in self._running)

    async def cancel_all(self) -> None:
        """Cancels every task and waits until all have ended; a task's own error is logged, not raised."""
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running, timeout=_CANCEL_AGAIN)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task_failed", task=task.get_name(), exc_info=error)
