"""One session, two workers, and a named moment of its rotation at which the first of them is held.

The rotation's moments, in their order:

    lock       the lock is to be taken              } the words to Redis are held
    marker     the record is to be marked           }
    arrived    the provider has the token, unspent
    spent      the provider has spent it, and has not answered
    save       the new tokens are to be written     } the words to Redis are held
    saved      they are written                     } Redis' answer is held
    release    the lock is to be given up           } the words to Redis are held

Beside these: `idle`, no rotation at all; `asked`, a rotation that nothing holds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.support.network import redis_fault_proxy as valve
from tests.support.network.redis_fault_proxy import Trap
from tests.support.processes.fleet import Answered, Fleet, Member
from tests.support.processes.redis import RedisServer
from tests.support.processes.worker_process import WorkerProcess
from tests.support.providers.behaviour import HELD_ARRIVED, HELD_SPENT, Behaviour
from tests.support.wait import until

Moment = Literal["idle", "asked", "lock", "marker", "arrived", "spent", "save", "saved", "release"]

_AT_REDIS: dict[Moment, tuple[valve.Says, bool]] = {
    "lock": (valve.lock, False),
    "marker": (valve.marker, False),
    "save": (valve.save, False),
    "saved": (valve.save, True),
    "release": (valve.release, False),
}
_AT_THE_PROVIDER: dict[Moment, Behaviour] = {"arrived": HELD_ARRIVED, "spent": HELD_SPENT}


@dataclass
class Stage:
    """What a fault can strike. The rotation begins at the first worker; the second has calls all the time."""

    fleet: Fleet
    replica: RedisServer | None
    moment: Moment
    member: Member  # whose tokens are rotated
    bystander: Member  # whose tokens are good for long
    gone: Member  # who signed out before
    call: "asyncio.Task[Answered] | None" = None  # the one that began the rotation
    extra: list[Answered] = field(default_factory=list)  # what a fault's own calls were answered
    was_reached: bool = False
    _trap: Trap | None = None

    @property
    def first(self) -> WorkerProcess:
        return self.fleet.workers[0]

    @property
    def second(self) -> WorkerProcess:
        return self.fleet.workers[1]

    def arm(self) -> None:
        """From now on the first worker is held at the moment."""
        if self.moment in _AT_REDIS:
            assert self.first.valve is not None
            says, answer = _AT_REDIS[self.moment]
            self._trap = self.first.valve.trap(says, answer=answer)
        elif self.moment in _AT_THE_PROVIDER:
            self.fleet.provider.next(_AT_THE_PROVIDER[self.moment])

    async def reached(self) -> None:
        """Waits until it is held there."""
        if self._trap is not None:
            sprung = self._trap.sprung.is_set
            await until(sprung)
        elif self.moment in _AT_THE_PROVIDER:
            await until(lambda: self.fleet.provider.held == 1)
        self.was_reached = True

    def release(self) -> None:
        """It goes on."""
        if self._trap is not None:
            self._trap.release()
        elif self.moment in _AT_THE_PROVIDER:
            self.fleet.provider.release()

    def every_valve(self, act: Callable[[valve.FaultProxy], None]) -> None:
        for worker in self.fleet.workers:
            assert worker.valve is not None
            act(worker.valve)
