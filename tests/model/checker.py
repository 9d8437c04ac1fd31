"""An explicit-state model checker: breadth first over all states, with the shortest way to what is wrong.

A model gives its first state, the steps out of a state, and what is wrong in one. A step may be wrong by
itself (`broken`), excused though it looks wrong (`excuse`, which is counted), and may be a fault of the world
around the protocol, which no progress is to be built on.
"""

import gc
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

State = TypeVar("State", bound=Hashable)


class Step(NamedTuple, Generic[State]):
    """One step: what happens, where it leads, whether it is a fault, what it breaks, what excuses it."""

    what: str
    state: State
    fault: bool = False
    broken: str = ""
    excuse: str = ""


class Model(Protocol[State]):
    """What is checked."""

    def first(self) -> State:
        """The state at the beginning."""
        ...

    def steps(self, state: State) -> Iterable[Step[State]]:
        """Everything that can happen next."""
        ...

    def canonical(self, state: State) -> State:
        """The one that stands for all states that differ in the names of processes only."""
        ...

    def wrong(self, state: State) -> str:
        """What must never be so, and is; or nothing."""
        ...

    def settled(self, state: State) -> bool:
        """Whether nothing is under way or owed any more."""
        ...


@dataclass(frozen=True)
class Trace(Generic[State]):
    """The shortest way to something wrong: each step's words, and the state that it leads to."""

    problem: str
    first: State
    steps: list[tuple[str, State]]

    def __str__(self) -> str:
        lines = [f"{self.problem}:", f"      {self.first}"]
        for number, (what, state) in enumerate(self.steps, 1):
            lines += [f"  {number:2}. {what}", f"      {state}"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Checked(Generic[State]):
    """What came of it: how many states and steps were looked at, and what is wrong, if anything is.

    `excused` counts the steps by their excuse.
    """

    states: int
    steps: int
    excused: Counter[str]
    trace: Trace[State] | None


def check(model: Model[State]) -> Checked[State]:
    """Visits every state. Raises nothing; what is wrong is in the answer.

    From every state there has to be a way without faults to a settled one: else the protocol is stuck.
    """
    with _no_collection():
        return _check(model)


def _check(model: Model[State]) -> Checked[State]:
    first = model.canonical(model.first())
    numbers: dict[State, int] = {first: 0}
    order, parents = [first], array("i", [-1])
    sources, targets = array("i"), array("i")  # of the steps that are no faults
    settled: list[int] = []
    excused: Counter[str] = Counter()
    count = 0
    for number, state in enumerate(order):  # grows while it is walked
        if model.settled(state):
            settled.append(number)
        for step in model.steps(state):
            count += 1
            if step.excuse:
                excused[step.excuse] += 1
            after = model.canonical(step.state)
            known = numbers.setdefault(after, len(order))
            if known == len(order):
                order.append(after)
                parents.append(number)
            if not step.fault:
                sources.append(number)
                targets.append(known)
            if problem := step.broken or (model.wrong(after) if known == len(order) - 1 else ""):
                path = [*_path(parents, number), known]
                return Checked(
                    len(order), count, excused, _told(model, problem, [order[each] for each in path])
                )
    stuck = _cannot_reach(settled, sources, targets, len(order))
    trace = None
    if stuck is not None:
        path = _path(parents, stuck)
        trace = _told(model, "there is no way on from here", [order[each] for each in path])
    return Checked(len(order), count, excused, trace)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of tuples without a cycle among them: the collector would look at them again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _path(parents: "array[int]", number: int) -> list[int]:
    path = [number]
    while (number := parents[number]) >= 0:
        path.append(number)
    return path[::-1]


def _cannot_reach(goals: list[int], sources: "array[int]", targets: "array[int]", count: int) -> int | None:
    """The first state from which none of the goals can be reached."""
    into: list[list[int]] = [[] for _ in range(count)]
    for source, target in zip(sources, targets, strict=True):
        into[target].append(source)
    good = bytearray(count)
    for goal in goals:
        good[goal] = 1
    left = list(goals)
    while left:
        for source in into[left.pop()]:
            if not good[source]:
                good[source] = 1
                left.append(source)
    stuck = good.find(0)
    return None if stuck < 0 else stuck


def _told(model: Model[State], problem: str, path: list[State]) -> Trace[State]:
    """The same way again with every process keeping its name."""
    state = model.first()
    told: list[tuple[str, State]] = []
    for after in path[1:]:
        step = _next(model.steps(state), model, after, problem if after is path[-1] else "")
        told.append((step.what, step.state))
        state = step.state
    return Trace(problem, model.first(), told)


def _next(steps: Iterable[Step[State]], model: Model[State], after: State, problem: str) -> Step[State]:
    fitting: Iterator[Step[State]] = (each for each in steps if model.canonical(each.state) == after)
    found = list(fitting)
    return next((each for each in found if each.broken == problem), found[0])
