"""The queue for a pool's connections: one line for each client, served in turn.

Rule 1: clients take turns, one call each, however many calls a client has waiting; within a client's line it
is first come, first served.
Rule 2: while a pool is crowded, only clients that hold nothing are served.
"""

import asyncio
import contextlib
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Holder:
    """One client of a pool: a session, or an address where nobody is signed in.

    Attributes:
        held: connections that carry its calls, those that are being made included; streams do not count.
    """

    __slots__ = ("__weakref__", "held")

    def __init__(self) -> None:
        self.held = 0


class FairQueue(Generic[T]):
    """The waiters, each with the future that it waits for. Calls without a holder form one line.

    Attributes:
        lines: those that are not empty; whose turn is next comes first.
    """

    def __init__(self) -> None:
        self.lines: dict[Holder | None, deque[asyncio.Future[T]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.lines.values()))

    def add(self, holder: Holder | None, waiter: asyncio.Future[T]) -> None:
        """Takes a waiter to the end of its client's line; a client that is new waits for all others first."""
        self.lines.setdefault(holder, deque()).append(waiter)

    def remove(self, holder: Holder | None, waiter: asyncio.Future[T]) -> None:
        """A waiter leaves, if it still stands there."""
        line = self.lines.get(holder)
        if line is not None:
            with contextlib.suppress(ValueError):
                line.remove(waiter)
            if not line:
                del self.lines[holder]

    def take(self, *, crowded: bool) -> tuple[Holder | None, asyncio.Future[T]] | None:
        """The waiter whose turn it is; None where nobody may be served now."""
        over: list[Holder | None] = []
        found = None
        for holder, line in self.lines.items():
            if crowded and holder is not None and holder.held:
                continue
            while line and line[0].done():  # cancelled, and not yet gone
                line.popleft()
            if line:
                found = holder, line.popleft()
                break
            over.append(holder)
        for holder in over:
            del self.lines[holder]
        if found is not None:
            line = self.lines.pop(found[0])
            if line:
                self.lines[found[0]] = line  # behind all others
        return found

    def drain(self) -> list[asyncio.Future[T]]:
        """Everybody who waits; nobody does afterwards."""
        waiting = [waiter for line in self.lines.values() for waiter in line]
        self.lines.clear()
        return waiting
