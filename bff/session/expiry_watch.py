"""A watch on the sessions of open streams, sockets and calls: their holders are told when a session ends.

Rule 1: the feed of changes says when to look, and Redis gives the state: a rotation, or a note of use, is a
change as well, and ends nothing.
Rule 2: where the feed is not to be trusted, and when a session's time is up, Redis is asked twice a second.
Rule 3: "not known" is not "ended": while Redis is away a session lives on, up to its absolute end.
Rule 4: however many sessions change at once, few are read at a time: the others wait here, and not for a
connection, where their waits would run out.
Rule 5: a session ends with its provider: what is open on former settings does not outlive a provider that
newer ones have no more.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from bff.errors import Problem, StoreUnavailableError
from bff.session.lifetime import ended
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession, Sessions
from bff.tasks import Tasks

_EVERY = 0.5
"""Seconds between two looks at the clock."""

_AT_ONCE = 32
"""Sessions that are read at the same time."""


class Feed(Protocol):
    """The feed of changes, as far as it is needed here."""

    @property
    def trusted(self) -> bool:
        """True while every change has been told."""
        ...

    def follow(self, key: str, listener: "ExpiryWatch") -> None:
        """Subscribes to changes of one session, and of all, until `leave`."""
        ...

    def leave(self, key: str, listener: "ExpiryWatch") -> None:
        """Ends the subscription to this session."""
        ...


class Watched:
    """A session that something open hangs on.

    Attributes:
        found: the session as it was last read.
        over: done once the session has ended, with why.
        followers: called when the session has been read anew.
    """

    __slots__ = ("followers", "found", "holders", "known", "look_again", "looking", "over")

    def __init__(self, found: Found) -> None:
        self.found = found
        self.over: asyncio.Future[NoSession] = asyncio.get_running_loop().create_future()
        self.followers: dict[object, Callable[[], None]] = {}
        self.holders = 0
        self.looking = False
        self.look_again = False
        self.known = False


class ExpiryWatch:
    """Watches sessions, which the feed tells it of. `clock` gives seconds since the epoch."""

    def __init__(self, *, sessions: Sessions, feed: Feed, tasks: Tasks, clock: Callable[[], float]) -> None:
        self._sessions = sessions
        self._feed = feed
        self._tasks = tasks
        self._clock = clock
        self._watched: dict[str, Watched] = {}  # by the session's key
        self._gone: frozenset[str] = frozenset()  # providers
        self._timer: asyncio.TimerHandle | None = None
        self._due: deque[Watched] = deque()  # those to be read
        self._readers = 0

    def __len__(self) -> int:
        return len(self._watched)

    @contextmanager
    def watching(self, found: Found) -> Iterator[Watched]:
        """Watches a session for as long as the block runs."""
        watched = self.join(found)
        try:
            yield watched
        finally:
            self.leave(watched)

    def join(self, found: Found) -> Watched:
        """Watches a session until `leave`."""
        key = found.session.key
        watched = self._watched.get(key)
        if watched is None:
            self._feed.follow(key, self)
        if watched is None or watched.over.done():
            watched = self._watched[key] = Watched(found)
        watched.holders += 1
        self._look(watched)  # it may have ended since it was found
        self._wind_up()
        return watched

    def leave(self, watched: Watched) -> None:
        """The session is watched no longer, unless by others."""
        watched.holders -= 1
        key = watched.found.session.key
        if not watched.holders and self._watched.get(key) is watched:
            del self._watched[key]
            self._feed.leave(key, self)

    def changed(self, key: str | None) -> None:
        """The feed's word: this session, or any of them, may have changed."""
        if key is None:
            for each in self._watched.values():
                self._look(each)
        elif (watched := self._watched.get(key)) is not None:
            self._look(watched)

    @property
    def frontend(self) -> str:
        """The name of the frontend whose sessions these are."""
        return self._sessions.frontend

    def providers_gone(self, names: Collection[str]) -> None:
        """Ends the sessions of these providers, which are no longer among those of the frontend."""
        self._gone |= frozenset(names)
        for each in self._watched.values():
            if each.found.session.provider in self._gone:
                self._look(each)

    def forget(self) -> None:
        """Looks at all sessions anew, of which nothing is remembered: a server key is gone."""
        self._sessions.decrypted.clear()
        self.changed(None)

    def noted(self, watched: Watched) -> None:
        """The session's use has just been noted, so that the next note is not due at once."""
        found = watched.found
        watched.found = Found(found.handle, replace(found.session, seen=self._clock()))

    def _wind_up(self) -> None:
        if self._timer is None and self._watched:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now, trusted = self._clock(), self._feed.trusted
        for watched in self._watched.values():
            time_left = self._sessions.idle_left(watched.found.session, now)
            if not (trusted and watched.known and time_left):
                self._look(watched)
        self._wind_up()

    def _look(self, watched: Watched) -> None:
        if watched.looking:
            watched.look_again = True
        elif not watched.over.done():
            watched.looking = True
            self._due.append(watched)
            if self._readers < _AT_ONCE:
                self._readers += 1
                self._tasks.spawn(self._read_due(), name="watched sessions")

    async def _read_due(self) -> None:
        try:
            while self._due:
                watched = self._due.popleft()
                try:
                    await self._read(watched)
                except StoreUnavailableError:
                    self._unknown(watched, *self._due)  # the others would wait as long, and in vain
                    self._due.clear()
                finally:
                    watched.looking = False
        finally:
            self._readers -= 1

    async def _read(self, watched: Watched) -> None:
        watched.look_again = True
        while watched.look_again and watched.holders:
            watched.look_again = watched.known = False
            current = await self._current(watched.found.handle)
            if isinstance(current, NoSession):
                watched.over.set_result(current)
                return
            seen = max(current.session.seen, watched.found.session.seen)  # a note may be under way
            watched.found = Found(current.handle, replace(current.session, seen=seen))
            watched.known = True
            for follower in tuple(watched.followers.values()):
                follower()

    async def _current(self, handle: str) -> Found | NoSession:
        if self._sessions.decrypted.handle(handle.encode()) is None:  # its server key was taken back
            return NoSession(Problem.SESSION_ENDED, EndReason.UNKNOWN)
        current = await self._sessions.open(handle)
        if isinstance(current, Found) and current.session.provider in self._gone:
            await self._sessions.end(current.session, EndReason.PROVIDER_REMOVED)
            return NoSession(Problem.SESSION_ENDED, EndReason.PROVIDER_REMOVED)
        return current

    def _unknown(self, *unknown: Watched) -> None:
        """Redis does not say: by the clock alone a session is over at its absolute end."""
        now = self._clock()
        for watched in unknown:
            watched.looking = watched.known = False
            session = watched.found.session
            if ended(session, now):
                why = NoSession(Problem.SESSION_EXPIRED, self._sessions.time_is_up(session))
                watched.over.set_result(why)
