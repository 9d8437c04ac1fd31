"""The refresh protocol of `bff/refresh/`, with everything that can come between, as states and steps.

One session, its record and its lock in Redis, a provider that rotates, a few processes, somebody who ends
the session. A step is one thing that others can see: one command of Redis, one call of the provider, one
death. Time is in it as what it does: tokens and leases end.

Left out, because it makes no difference to what is checked: requests that wait (their task is the process),
the read before the lock is asked for (a process may read and then do nothing for as long as it likes), pauses
and the circuit (a process may give up while it waits), how long anything takes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tests.model.checker import Step
from tests.model.process import Processes
from tests.model.state import (
    ALL,
    GONE,
    UNAVOIDABLE,
    At,
    Ender,
    Lock,
    Note,
    Policy,
    Process,
    Provider,
    Rules,
    State,
)

EndedBy = Literal["nobody", "DEL", "logout"]


@dataclass(frozen=True)
class Protocol:
    """A model for the checker.

    Attributes:
        rotations: how many versions' access tokens run out.
        faults: how many happen; None: as many as you like.
        ended_by: who ends the session from outside, if anybody does, at any time.
    """

    rules: Rules = ALL
    processes: int = 3
    rotations: int = 2
    faults: int | None = None
    policy: Policy = "family"
    ended_by: EndedBy = "nobody"

    @cached_property
    def _provider(self) -> Provider:
        return Provider(self.policy)

    @cached_property
    def _processes(self) -> Processes:
        return Processes(self.rules, self._provider, counted=self.faults is not None)

    def first(self) -> State:
        """Signed in, and the access token is over."""
        return State(
            version=1,
            token=0,
            marker=False,
            lock=Lock.FREE,
            issued=0,
            alive=True,
            grace=False,
            sent=0,
            excess=0,
            over=1,
            ender=Ender.NOBODY,
            revoked=0,
            flying=0,
            faults=1 if self.faults is None else self.faults,
            notes=0,
            processes=(Process(),) * self.processes,
        )

    def canonical(self, state: State) -> State:
        """Processes have no names."""
        ordered = tuple(sorted(state.processes))
        return state if ordered == state.processes else state._replace(processes=ordered)

    def settled(self, state: State) -> bool:
        """Nobody does anything, nothing is locked, and the session is over or has good tokens."""
        return (
            state.lock is Lock.FREE
            and state.ender in (Ender.NOBODY, Ender.DONE)
            and (state.version == GONE or state.version > state.over)
            and all(each.at is At.REST for each in state.processes)
        )

    def wrong(self, state: State) -> str:
        """What must not be so."""
        if self.faults is not None and state.excess > self.faults - state.faults:
            return "a token is sent more often than there were faults"
        if not self.settled(state):
            return ""
        if state.version != GONE and state.marker:
            return "the marker stays beside new tokens"
        spoiled = state.notes & UNAVOIDABLE
        if state.version != GONE and not spoiled and not self._provider.accepts(state, state.token):
            return "the session has a token that the provider refuses"
        leaks = state.alive and state.ender is Ender.DONE and not (spoiled or state.notes & Note.LEAKED)
        if leaks and (self.ended_by == "logout" or state.issued > state.revoked):
            return "the session has ended, and its refresh token lives"
        return ""

    def steps(self, state: State) -> Iterator[Step[State]]:
        """Everything that can happen next."""
        seen = set()
        for index, process in enumerate(state.processes):
            if process in seen:
                continue  # it can do nothing that its twin cannot
            seen.add(process)
            name = f"process {'ABCDEF'[index]}"
            for move in self._processes.moves(state, process):
                after = _moved(move.state, index, move.me)
                yield Step(f"{name} {move.what}", after, broken=move.broken, excuse=move.excuse)
            if state.faults:
                left = state.faults - (self.faults is not None)
                for move in self._processes.faults(state, process):
                    after = _moved(move.state, index, move.me)
                    yield Step(f"{name} {move.what}", after._replace(faults=left), fault=True)
        yield from self._time(state)
        yield from self._outside(state)

    def _time(self, state: State) -> Iterator[Step[State]]:
        if state.version > state.over and state.over < self.rotations:
            yield Step("the access token runs out", state._replace(over=state.over + 1))
        if state.lock is Lock.LEFT:
            yield Step("the lease that was left behind ends", state._replace(lock=Lock.FREE))
        if state.flying:
            taken, _ = self._provider.asked(state, state.flying - 1)
            yield Step("the provider takes up the call that was given up", taken._replace(flying=0))
        if state.grace and self.policy == "grace":
            yield Step("the provider's grace ends", state._replace(grace=False))
        if state.lock is Lock.HELD and state.faults:
            stopped = state._replace(
                lock=Lock.FREE,
                faults=state.faults - (self.faults is not None),
                notes=state.notes | Note.STOPPED,
                processes=tuple(each._replace(locked=False) for each in state.processes),
            )
            yield Step("the holder of the lock stands still, and its lease ends", stopped, fault=True)

    def _outside(self, state: State) -> Iterator[Step[State]]:
        match state.ender:
            case Ender.NOBODY if self.ended_by == "DEL" and state.version != GONE:
                after = state.deleted()._replace(ender=Ender.DONE, revoked=state.issued)
                yield Step("somebody deletes the session", after)
            case Ender.NOBODY if self.ended_by == "logout" and state.version != GONE:
                after = state._replace(ender=Ender.READ, revoked=state.version)
                yield Step("a logout reads the session", after)
            case Ender.READ:
                after = self._provider.revoked(state, state.revoked - 1)._replace(ender=Ender.REVOKED)
                yield Step("the logout revokes the token that it has read", after)
            case Ender.REVOKED:
                if self.rules.logout_fence and state.version not in (state.revoked, GONE):
                    again = state._replace(ender=Ender.READ, revoked=state.version)
                    yield Step("the logout finds newer tokens", again)
                else:
                    yield Step("the logout deletes the session", state.deleted()._replace(ender=Ender.DONE))
            case _:
                pass


def _moved(state: State, index: int, process: Process) -> State:
    processes = state.processes
    return state._replace(processes=(*processes[:index], process, *processes[index + 1 :]))
