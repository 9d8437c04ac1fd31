"""Waiting for another process's change of a session.

Rule 1: a waiter begins to listen before it looks, so that nothing is missed in between.
Rule 2: the feed wakes early, and never instead of the timer: who has died pushes nothing. Where the feed is
not to be trusted the timer is short.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LOOK_AGAIN = 0.1
"""Seconds between two looks where no feed tells of changes."""

LOOK_FOR_DEAD = 1.0
"""Seconds between two looks where one does: a holder that died says nothing, and its lock runs out."""


class Feed(Protocol):
    """The feed of changes, as far as it is needed here."""

    @property
    def trusted(self) -> bool:
        """True while every change has been told."""
        ...

    def follow(self, key: str, listener: "ChangeWaiter") -> None:
        """Subscribes to changes of one session, and of all, until `leave`."""
        ...

    def leave(self, key: str, listener: "ChangeWaiter") -> None:
        """Ends the subscription to this session."""
        ...


class Subscription:
    """A subscription to the changes of one session."""

    def __init__(self, feed: Feed | None) -> None:
        self._feed = feed
        self._heard = asyncio.Event()

    def heard(self) -> None:
        """Takes a change of the session."""
        self._heard.set()

    def listen(self) -> None:
        """Forgets the changes so far: the session is read after this."""
        self._heard.clear()

    async def wait(self, seconds: float | None = None) -> None:
        """Waits for a change, or until it is time to look again; `seconds` at most, where given."""
        trusted = self._feed is not None and self._feed.trusted
        patience = LOOK_FOR_DEAD if trusted else LOOK_AGAIN
        try:
            async with asyncio.timeout(patience if seconds is None else min(patience, seconds)):
                await self._heard.wait()
        except TimeoutError:
            return


class ChangeWaiter:
    """Has the feed wake those who wait for a session's change; without a feed they look often."""

    def __init__(self, feed: Feed | None) -> None:
        self._feed = feed
        self._ears: dict[str, Subscription] = {}  # by the session's key: one rotation at a time waits for it

    @contextmanager
    def about(self, key: str) -> Iterator[Subscription]:
        """Listens for changes of a session for as long as the block runs."""
        ear = self._ears[key] = Subscription(self._feed)
        if self._feed is not None:
            self._feed.follow(key, self)
        try:
            yield ear
        finally:
            del self._ears[key]
            if self._feed is not None:
                self._feed.leave(key, self)

    def changed(self, key: str | None) -> None:
        """The feed's word: this session, or any of them, may have changed."""
        if key is None:
            for ear in self._ears.values():
                ear.heard()
        elif (one := self._ears.get(key)) is not None:
            one.heard()
