"""The queue for a pool's connections: one line for each client, served in turn.

A client is named by a string: its session's key, or its address where nobody is signed in.

Rule 1: clients take turns, one call each, however many calls a client has waiting; within a client's line it
is first come, first served.
Rule 2: while a pool is crowded, only clients that hold nothing are served.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Container
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """The queue of waiters, each a future, in one line for each client; calls without a client form one line.

    Attributes:
        lines: those that are not empty; whose turn is next comes first.
    """

    def __init__(self) -> None:
        self.lines: dict[str | None, deque[asyncio.Future[T]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.lines.values()))

    def add(self, client: str | None, waiter: asyncio.Future[T]) -> None:
        """Adds a waiter to the end of its client's line; the line of a new client is the last one."""
        self.lines.setdefault(client, deque()).append(waiter)

    def remove(self, client: str | None, waiter: asyncio.Future[T]) -> None:
        """Removes a waiter, if it is still there."""
        line = self.lines.get(client)
        if line is not None:
            with contextlib.suppress(ValueError):
                line.remove(waiter)
            if not line:
                del self.lines[client]

    def take(self, *, barred: Container[str | None] = ()) -> tuple[str | None, asyncio.Future[T]] | None:
        """Removes and returns the waiter whose turn it is; None where all waiting clients are `barred`."""
        over: list[str | None] = []
        found = None
        for client, line in self.lines.items():
            if client in barred:
                continue
            while line and line[0].done():  # cancelled, and not yet gone
                line.popleft()
            if line:
                found = client, line.popleft()
                break
            over.append(client)
        for client in over:
            del self.lines[client]
        if found is not None:
            line = self.lines.pop(found[0])
            if line:
                self.lines[found[0]] = line  # behind all others
        return found

    def drain(self) -> list[asyncio.Future[T]]:
        """Removes and returns all waiters."""
        waiting = [waiter for line in self.lines.values() for waiter in line]
        self.lines.clear()
        return waiting
