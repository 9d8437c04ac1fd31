"""A rolling restart: each worker replaced by a successor that serves before it stops.

Rule 1: nothing is replaced by settings that cannot be used, or that the supervisor itself would need.
Rule 2: a successor that does not come to serve stops the roll: it is ended, and whoever serves goes on.
Rule 3: the successor listens on the same socket, so that no connection is lost on its way; the former worker
lets each connection carry one last answer, and closes WebSockets by their close frame.
Rule 4: one after the other: the next is replaced when the former worker of this place has ended.
"""

import asyncio
from collections.abc import Callable, Sequence

from bff.observe.logs import get_logger
from bff.serve.post import Post
from bff.serve.process import WorkerProcess, cause_of_end
from bff.settings.changes import FIXED, compare
from bff.settings.model import Settings
from bff.tasks import Tasks

_log = get_logger("bff.serve")


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
        posts: the places, in turn.
        tasks: where it waits.
        start_timeout: seconds within which a successor has to serve.
        stopping: True once the service stops.
    """

    def __init__(
        self, posts: Sequence[Post], tasks: Tasks, start_timeout: float, stopping: Callable[[], bool]
    ) -> None:
        self._posts = posts
        self._tasks = tasks
        self._start_timeout = start_timeout
        self._stopping = stopping

    async def run(self, settings: Settings) -> bool:
        """Replaces every worker; False if the roll was stopped."""
        done: list[int] = []
        for post in self._posts:
            if not await self._replace(post, settings):
                if not self._stopping():
                    left = [post.number for post in self._posts if post.number not in done]
                    _log.error("roll_stopped", replaced=done, serve_on=left)
                return False
            done.append(post.number)
        for post in self._posts:
            post.settings = None
        _log.info("rolled", workers=len(done))
        return True

    async def _replace(self, post: Post, settings: Settings) -> bool:
        former = post.worker
        if former is None or not await self._serves(former):
            post.settings = settings  # no worker serves here: its successor gets the new settings
            return not self._stopping()
        try:
            successor = await post.start(settings)
        except OSError as error:
            _log.error("worker_not_started", worker=post.number, detail=str(error))
            return False
        if self._stopping():  # it was not there yet when all were told to stop
            successor.link.order("stop")
        if not await self._comes_up(post, successor):
            return False
        if self._stopping():
            await post.ended(successor)
            return False
        if post.worker is not former:  # it died meanwhile, and was replaced by the former settings
            successor.link.order("stop")
            self._tasks.spawn(post.ended(successor), name="spare worker")
            return await self._replace(post, settings)
        post.successor, post.settings = successor, settings
        _log.info("worker_serving", worker=post.number, pid=successor.pid, replaces=former.pid)
        former.link.order("retire")
        return await self._follows(post, former, successor)

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

    async def _comes_up(self, post: Post, successor: WorkerProcess) -> bool:
        if await self._serves(successor):
            return True
        if successor.has_ended:
            cause = cause_of_end(await successor.ended())
            if not self._stopping():
                _log.error("successor_ended", worker=post.number, pid=successor.pid, **cause)
        else:
            limit = self._start_timeout
            _log.error("worker_start_timed_out", worker=post.number, pid=successor.pid, limit=limit)
            successor.kill()
        await post.ended(successor)
        return False

    async def _follows(self, post: Post, former: WorkerProcess, successor: WorkerProcess) -> bool:
        """Waits until the former worker has ended; False if the successor did first."""
        first = self._tasks.spawn(former.ended(), name="former worker ended")
        second = self._tasks.spawn(successor.ended(), name="successor ended")
        _, waiting = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if first.done():
            return True
        post.close()  # nobody takes what waits there
        return False
