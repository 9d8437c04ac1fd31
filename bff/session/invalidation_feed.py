"""The one feed of what changes in Redis under the sessions' keys (`client_tracking.py`).

Near cache, waiters, event streams and sockets hang on it.

Rule 1: `trusted` is a matter of time, not of events: the server's last answer on the tracking connection must
be to a question that we sent less than a lease ago. So a process that is woken from a stop distrusts the feed
before anything else happens in it, and a silent connection is distrusted though nothing ever breaks.
Rule 2: `current_until` is a matter of moments. A call is answered in the turn of the loop that reads it, and
the push that came before it may be behind it in that turn, which may be long: what is `LOOK_EVERY` old has to
be made sure of by `catch_up`, which reads what has come.
Rule 3: a server that was lost is begun with anew: listeners are told that everything may have changed, at the
loss and again before it is trusted.
Rule 4: under Sentinel the server is followed for as long as it is the one that Sentinel names.
Rule 5: in a cluster every master is followed, and all of them are lost together: where one falls silent, or
names other masters, all is begun anew with those that most servers name. A key is told of by whichever
master has it, so that slots may move among those that are followed.
Rule 6: the note of an end (`end_reasons.py`) is told as a change of its session: a record that stands beside
it is no session, and its deletion may never come, where Redis or the process is lost in between.
Rule 7: without tracking (Redis before 6, an imitation, an account that may not) the feed says so once, and
is never trusted; the proxy works without it.
"""

import asyncio
import contextlib
import math
import random
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from bff.observe.logs import get_logger
from bff.session.client_tracking import (
    FeedBrokenError,
    MasterQuestion,
    Question,
    SlotsQuestion,
    Tracking,
)
from bff.session.cluster.topology import Topology
from bff.session.redis_connection import new_connection
from bff.settings.model import RedisSettings
from bff.tasks import Tasks

LEASE = 2.0
"""Seconds for which an answer of the server vouches: the worst staleness that there can be."""

LOOK_EVERY = 0.001
"""Seconds after which a call makes sure that no push waits to be read."""

_ASK_EVERY = LEASE / 4
_PAUSE_FIRST, _PAUSE_LAST = 0.05, 2.0
_MOST_TOLD = 8  # problems that are logged until the feed follows again
_PAUSE_UNSUPPORTED = 30.0  # the server may be exchanged for a better one while we run

_log = get_logger("bff.changes")


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

steady_now: Callable[[], float] = partial(time.clock_gettime, _CLOCK)
"""Returns seconds of a clock that nobody sets; it goes on while the machine sleeps, where there is such."""


class Listener(Protocol):
    """A receiver of changes. Listeners are told in the order in which they subscribed."""

    def changed(self, key: str | None) -> None:
        """The session of this key was written, deleted or has expired; None: any of them may have been."""
        ...


class _Subscription(NamedTuple):
    """A subscription to every change.

    Attributes:
        listener: returns the listener; None where that is gone.
        to_notes: the notes of ends are told, too.
    """

    listener: Callable[[], Listener | None]
    to_notes: bool


class InvalidationFeed:
    """Follows the servers that hold the sessions, as a task of its own, from `start` to `aclose`.

    Args:
        settings: where Redis is.
        prefix: what the names of the sessions begin with; listeners get the key that follows it.
        notes: what the names of the notes of their ends begin with, before that key.
        clock: steady seconds, see `steady_now`.
        topology: the store's own, where that is a cluster.

    Attributes:
        trusted_until: before that moment of the clock the feed is `trusted`.
        current_until: before that moment nothing that was told waits to be read; afterwards see `catch_up`.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        prefix: str,
        notes: str,
        clock: Callable[[], float] = steady_now,
        topology: Topology | None = None,
    ) -> None:
        self._topology = topology
        self._settings = settings
        self._prefix, self._notes = prefix, notes
        self._clock = clock
        self._patience = min(settings.timeout, LEASE)
        self._subscriptions: list[_Subscription] = []
        self._by_key: dict[str, list[Listener]] = {}
        self._tasks = Tasks()
        self.trusted_until = self.current_until = -math.inf
        self._followed: list[Tracking] = []
        self._vouched: dict[int, float] = {}  # when each server was asked what it answered last
        self._following = False
        self._pause = _PAUSE_FIRST
        self.problem: str | None = "not started"
        self._told: set[str] = set()

    @property
    def trusted(self) -> bool:
        """True while everything that happened up to a lease ago has been told."""
        return self._clock() < self.trusted_until

    def catch_up(self, now: float) -> bool:
        """Passes on the pushes that came until this moment; returns False if the feed cannot vouch for it."""
        if now < self.trusted_until and all(each.catch_up() for each in self._followed):
            self.current_until = min(now + LOOK_EVERY, self.trusted_until)
            return True
        return False

    def subscribe(self, listener: Listener, *, to_notes: bool = True) -> None:
        """Subscribes this listener to every change from now on, and to the notes of ends if `to_notes`."""
        self._subscriptions.append(_Subscription(lambda: listener, to_notes))

    def release(self, listener: Listener) -> None:
        """Subscribes a listener to changes for as long as anybody else still uses it."""
        self.unsubscribe(listener)
        self._subscriptions.append(_Subscription(weakref.ref(listener), to_notes=True))

    def follow(self, key: str, listener: Listener) -> None:
        """Subscribes this listener to one session, and to all at once, until `leave`; behind the others."""
        self._by_key.setdefault(key, []).append(listener)

    def leave(self, key: str, listener: Listener) -> None:
        """Ends its subscription to this session."""
        here = self._by_key[key]
        here.remove(listener)
        if not here:
            del self._by_key[key]

    def unsubscribe(self, listener: Listener) -> None:
        """Ends its subscription."""
        self._subscriptions = [each for each in self._subscriptions if each.listener() is not listener]

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
        """Follows until a server is lost, whyever; returns how long to wait before the next time."""
        tasks = Tasks()
        try:
            self._followed = followed = await self._servers()
            self._vouched = dict.fromkeys(range(len(followed)), -math.inf)
            for each in followed:
                tasks.spawn(each.watch(), name="the master that Sentinel names")
            await _first_end([tasks.spawn(_ended(each), name="followed") for each in followed])
        except ResponseError as refused:
            self._report("changes_untracked", f"the server does not track for us: {refused}")
            return _PAUSE_UNSUPPORTED
        except FeedBrokenError as broken:
            self._report("changes_lost", str(broken))
        except (RedisError, OSError, TimeoutError) as failure:
            self._report("changes_lost", f"{type(failure).__name__}: {failure}".removesuffix(": "))
        finally:
            self._lose()
            try:
                await tasks.cancel_all()
            finally:
                followed, self._followed = self._followed, []
                for each in followed:
                    await each.leave()
        pause, self._pause = self._pause, min(2 * self._pause, _PAUSE_LAST)
        return pause

    async def _servers(self) -> list[Tracking]:
        """The servers to be followed: the one that there is, or all that have, or take over, slots."""
        topology = self._topology
        if topology is None:
            connection = new_connection(self._settings)
            return [self._tracking(0, connection, MasterQuestion(connection))]
        masters = (await topology.read()).masters
        topology.followed = masters | topology.extra
        topology.extra = frozenset()  # the next question there brings it back, should it not be followed
        return [
            self._tracking(
                number, new_connection(self._settings, address), SlotsQuestion(topology, address, masters)
            )
            for number, address in enumerate(sorted(topology.followed))
        ]

    def _tracking(self, number: int, connection: AbstractConnection, question: Question) -> Tracking:
        return Tracking(
            connection,
            question,
            prefixes=(self._prefix, self._notes),
            patience=self._patience,
            every=_ASK_EVERY,
            clock=self._clock,
            tell=self._tell,
            vouch=partial(self._vouch, number),
            lost=self._distrust,
        )

    def _vouch(self, number: int, asked: float) -> None:
        self._vouched[number] = asked
        self.trusted_until = min(self._vouched.values()) + LEASE
        if self.trusted_until > -math.inf:
            self._now_following()

    def _tell(self, keys: Sequence[str] | None) -> None:
        """Passes one push on to the listeners; each process gets one for each write of any session."""
        names: Sequence[str | None] = [None]
        noted: Sequence[str] = ()
        if keys is not None:
            prefix = self._prefix
            start = len(prefix)
            names = [name[start:] for name in keys if name.startswith(prefix)]
            if len(names) < len(keys):
                noted = self._noted(keys)
        both = [*names, *noted] if noted else names
        followers = self._followers(both) if self._by_key else ()
        failed: Exception | None = None
        for each in tuple(self._subscriptions):
            listener = each.listener()
            if listener is None:
                self._subscriptions.remove(each)
                continue
            changed = listener.changed
            for name in both if each.to_notes else names:
                try:
                    changed(name)
                except Exception as failure:  # noqa: BLE001 - it may hold on to what is gone: trust ends, for all
                    failed = failure
        for listener, name in followers:
            try:
                listener.changed(name)
            except Exception as failure:  # noqa: BLE001 - likewise
                failed = failure
        if failed is not None:
            _log.error("listener_failed", exc_info=failed)
            raise FeedBrokenError("a listener failed")

    def _noted(self, keys: Sequence[str]) -> list[str]:
        """Returns the sessions whose notes are among these; a note of a user or sign-in has two parts."""
        start = len(self._notes)
        return [name[start:] for name in keys if name.startswith(self._notes) and ":" not in name[start:]]

    def _followers(self, names: Sequence[str | None]) -> list[tuple[Listener, str | None]]:
        """Returns those who follow these sessions, or, where None is named, any."""
        found: list[tuple[Listener, str | None]] = []
        for name in names:
            if name is None:
                every = [listener for here in self._by_key.values() for listener in here]
                found += [(listener, None) for listener in dict.fromkeys(every)]
            else:
                found += [(listener, name) for listener in self._by_key.get(name, ())]
        return found

    def _distrust(self) -> None:
        self.trusted_until = self.current_until = -math.inf
        self._vouched = dict.fromkeys(self._vouched, -math.inf)  # no other server's answer brings trust back

    def _lose(self) -> None:
        self._distrust()
        self._following = False
        if self._topology is not None:
            self._topology.followed = frozenset()
        with contextlib.suppress(FeedBrokenError):
            self._tell(None)

    def _now_following(self) -> None:
        self._pause = _PAUSE_FIRST
        if not self._following:
            self._following = True
            self.problem = None
            self._told.clear()
            _log.info("changes_followed", prefix=self._prefix)

    def _report(self, event: str, problem: str) -> None:
        """Logs each problem of an outage once: two in turn, as a dying server has them, fill no log."""
        if problem not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(problem)
            _log.warning(event, detail=problem)
        self.problem = problem


async def _ended(tracking: Tracking) -> BaseException:
    """Follows a server; returns why that has ended."""
    try:
        await tracking.follow()
    except (RedisError, OSError, TimeoutError, FeedBrokenError) as failure:
        return failure
    raise AssertionError("unreachable")


async def _first_end(following: list["asyncio.Task[BaseException]"]) -> None:
    """Waits until one of them has ended, and raises why."""
    ended, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
    raise next(iter(ended)).result()
