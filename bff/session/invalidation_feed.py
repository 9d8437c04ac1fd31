"""The one feed of what changes in Redis under the sessions' keys, by `CLIENT TRACKING ON BCAST`.

Near cache, waiters, event streams and sockets hang on it.

Rule 1: `trusted` is a matter of time, not of events: the server's last answer on the tracking connection must
be to a question that we sent less than a lease ago. So a process that is woken from a stop distrusts the feed
before anything else happens in it, and a silent connection is distrusted though nothing ever breaks.
Rule 2: every question is ROLE: its answer shows that the connection lives and that the server is a master.
Rule 3: pushes come in order with the answers, so what an answer vouches for has been told before it. A
connection that was lost is never mended: listeners are told that everything may have changed, at the loss and
again before the next connection is trusted.
Rule 4: under Sentinel the server is followed for as long as it is the one that Sentinel names.
Rule 5: without tracking (Redis before 6, an imitation, an account that may not) the feed says so once, and
is never trusted; the proxy works without it.
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from bff.observe.logs import get_logger
from bff.session.redis_connection import connect, new_connection
from bff.session.sentinel import ToMaster
from bff.settings.model import RedisSettings
from bff.tasks import Tasks

LEASE = 2.0
"""Seconds for which an answer of the server vouches: the worst staleness that there can be."""

_ASK_EVERY = LEASE / 4
_WATCH_EVERY = LEASE / 2  # how often Sentinel is asked
_PAUSE_FIRST, _PAUSE_LAST = 0.05, 2.0
_PAUSE_UNSUPPORTED = 30.0  # the server may be exchanged for a better one while we run

_log = get_logger("bff.changes")


def steady_now() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Listener(Protocol):
    """A receiver of changes. Listeners are told in the order in which they subscribed."""

    def changed(self, key: str | None) -> None:
        """The session of this key was written, deleted or has expired; None: any of them may have been."""
        ...


@dataclass(frozen=True, slots=True)
class _Push:
    keys: list[str] | None  # None: everything


class _FeedBrokenError(Exception):
    """The connection answered something that this file does not understand, or not in time."""


class InvalidationFeed:
    """Follows one server, as a task of its own, from `start` to `aclose`.

    Args:
        settings: where Redis is.
        prefix: what the names of the watched keys begin with; listeners get what follows it.
        clock: steady seconds, see `steady_now`.
    """

    def __init__(
        self, settings: RedisSettings, *, prefix: str, clock: Callable[[], float] = steady_now
    ) -> None:
        self._settings = settings
        self._prefix = prefix
        self._clock = clock
        self._patience = min(settings.timeout, LEASE)
        self._listeners: list[Listener] = []
        self._tasks = Tasks()
        self._trusted_until = -math.inf
        self._following = False
        self._moved = False
        self._pause = _PAUSE_FIRST
        self.problem: str | None = "not started"

    @property
    def trusted(self) -> bool:
        """True while everything that happened up to a lease ago has been told."""
        return self._clock() < self._trusted_until

    def trusted_at(self, now: float) -> bool:
        """The same for a caller who has just read the steady clock."""
        return now < self._trusted_until

    def subscribe(self, listener: Listener) -> None:
        """Tells this listener of every change from now on."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Tells it no more."""
        self._listeners.remove(listener)

    async def start(self) -> None:
        """Begins to follow; trust comes a moment later, with the first answer."""
        self.problem = "connecting"
        self._tasks.spawn(self._run(), name="feed of changes")

    async def aclose(self) -> None:
        """Stops following, and distrusts."""
        await self._tasks.cancel_all()
        self.problem = "stopped"

    async def _run(self) -> None:
        while True:
            pause = await self._follow_once()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    async def _follow_once(self) -> float:
        """Follows until the connection is lost, whyever; returns how long to wait before the next."""
        connection = new_connection(self._settings)
        watch = self._tasks.spawn(self._watch(connection), name="the master that Sentinel names")
        try:
            await self._follow(connection)
        except ResponseError as refused:
            self._report("changes_untracked", f"the server does not track for us: {refused}")
            return _PAUSE_UNSUPPORTED
        except _FeedBrokenError as broken:
            self._report("changes_lost", str(broken))
        except (RedisError, OSError, TimeoutError) as failure:
            self._report("changes_lost", f"{type(failure).__name__}: {failure}".removesuffix(": "))
        finally:
            watch.cancel()
            self._lose()
            await connection.disconnect(nowait=True)
        pause, self._pause = self._pause, min(2 * self._pause, _PAUSE_LAST)
        return pause

    async def _follow(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(self._patience):
            await connect(connection)
            connection._parser.set_invalidation_push_handler(_received)  # type: ignore[attr-defined] # noqa: SLF001 - redis-py has no public way
            await self._command(connection, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
            if await self._answer(connection, asyncio.get_running_loop().time() + self._patience) != "OK":
                raise _FeedBrokenError("tracking was answered oddly")
        self._tell(_Push(None))
        while True:
            asked = self._clock()
            await self._ask(connection)
            self._trusted_until = asked + LEASE
            self._now_following()
            await self._rest(connection, until=asked + _ASK_EVERY)

    async def _watch(self, connection: AbstractConnection) -> None:
        """Notes when Sentinel names another master than the one on this connection (Rule 4)."""
        self._moved = False
        while isinstance(connection, ToMaster) and not self._moved:
            await asyncio.sleep(_WATCH_EVERY)
            self._moved = connection.is_connected and await connection.locator.has_moved(connection.address)

    async def _ask(self, connection: AbstractConnection) -> None:
        await self._command(connection, "ROLE")
        role = await self._answer(connection, asyncio.get_running_loop().time() + self._patience)
        if not isinstance(role, list) or not role:
            raise _FeedBrokenError("ROLE was answered oddly")
        if role[0] != "master":
            raise _FeedBrokenError(f"the server is a {role[0]}, no master")
        if self._moved:
            raise _FeedBrokenError("Sentinel names another master")

    async def _answer(self, connection: AbstractConnection, deadline: float) -> Any:
        """The next answer; pushes that come before it are told first."""
        while True:
            left = deadline - asyncio.get_running_loop().time()
            said = await connection.read_response(timeout=max(left, 0), push_request=True)
            if isinstance(said, _Push):
                self._tell(said)
            elif said is None:
                raise _FeedBrokenError(f"no answer within {self._patience:g} s")
            else:
                return said

    async def _rest(self, connection: AbstractConnection, until: float) -> None:
        """Passes on the changes that arrive until the next question is due."""
        while (left := until - self._clock()) > 0:
            said = await connection.read_response(timeout=left, push_request=True)
            if isinstance(said, _Push):
                self._tell(said)
            elif said is not None:
                raise _FeedBrokenError("an answer came to no question")

    async def _command(self, connection: AbstractConnection, *words: str) -> None:
        if not connection.is_connected:  # redis-py would connect again, and say nothing: without tracking
            raise _FeedBrokenError("the connection is closed")
        await connection.send_command(*words, check_health=False)

    def _tell(self, push: _Push) -> None:
        if push.keys is None:
            names: list[str | None] = [None]
        else:
            start = len(self._prefix)
            names = [name[start:] for name in push.keys if name.startswith(self._prefix)]
        failed: Exception | None = None
        for listener in tuple(self._listeners):
            try:
                for name in names:
                    listener.changed(name)
            except Exception as failure:  # noqa: BLE001 - it may hold on to what is gone: trust ends, for all
                failed = failure
        if failed is not None:
            _log.error("listener_failed", exc_info=failed)
            raise _FeedBrokenError("a listener failed")

    def _lose(self) -> None:
        self._trusted_until = -math.inf
        self._following = False
        with contextlib.suppress(_FeedBrokenError):
            self._tell(_Push(None))

    def _now_following(self) -> None:
        self._pause = _PAUSE_FIRST
        if not self._following:
            self._following = True
            self.problem = None
            _log.info("changes_followed", prefix=self._prefix)

    def _report(self, event: str, problem: str) -> None:
        if problem != self.problem:
            _log.warning(event, detail=problem)
        self.problem = problem


async def _received(message: list[Any]) -> _Push:
    """Turns a push into an answer of its own kind, and no more: the parser swallows errors raised here."""
    return _Push(message[1])
