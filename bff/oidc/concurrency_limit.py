"""The limit on token calls under way at the provider, and the queue for it.

Rule 1: places that somebody waits behind (a request whose token is over, a sign-in) come before those that
nobody does; within each kind, first come, first served.
Rule 2: a caller that goes away passes its slot on, also if it was given it in the same moment.
Rule 3: a call whose answer is late lends its slot to others and goes on: a call that hangs keeps nobody else
out. So many calls are lent beside those that have one, and no more: the connections are bounded.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

LATE_CALLS: Final = 4
"""The number of calls that may be late, for each slot."""


class Ticket:
    """One place in the queue; it may be used again and again, for one slot at a time."""

    __slots__ = ("turn", "urgent")

    def __init__(self, *, urgent: bool) -> None:
        self.urgent = urgent
        self.turn: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> bool:
        """True if the ticket is in the queue."""
        return self.turn is not None and not self.turn.done()


class Slot:
    """A slot that is taken."""

    __slots__ = ("_slots", "lent")

    def __init__(self, tickets: "PrioritySemaphore") -> None:
        self._slots = tickets
        self.lent = False

    def lend(self) -> None:
        """Lets others have it, if there are not too many calls already that go on without."""
        if not self.lent:
            self.lent = self._slots.lend()


class PrioritySemaphore:
    """At most `size` at once. Not thread-safe: it belongs to one event loop."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._may_be_late = LATE_CALLS * size
        self._urgent: deque[Ticket] = deque()
        self._patient: deque[Ticket] = deque()

    @asynccontextmanager
    async def taken(self, place: Ticket) -> AsyncIterator[Slot]:
        """Waits for a slot, and has it for as long as the block runs, or until it is lent."""
        await self._take(place)
        slot = Slot(self)
        try:
            yield slot
        finally:
            if slot.lent:
                self._may_be_late += 1
            else:
                self._give_back()

    def lend(self) -> bool:
        """Gives a slot to others whose call goes on; whether that may be."""
        if not self._may_be_late:
            return False
        self._may_be_late -= 1
        self._give_back()
        return True

    def hurry(self, place: Ticket) -> None:
        """Notes that a request has begun to wait behind this place."""
        if not place.urgent:
            place.urgent = True
            if place.waiting:
                self._urgent.append(place)  # its place in the other queue is passed over when it comes up

    async def _take(self, place: Ticket) -> None:
        if self._free:
            self._free -= 1
            return
        turn = place.turn = asyncio.get_running_loop().create_future()
        (self._urgent if place.urgent else self._patient).append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        for queue in (self._urgent, self._patient):
            while queue:
                place = queue.popleft()
                if place.turn is not None and place.waiting:
                    place.turn.set_result(None)
                    return
        self._free += 1
