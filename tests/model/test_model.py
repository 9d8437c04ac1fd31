"""The refresh protocol in every state that three processes can get into; and each rule, by its absence."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import pytest

from tests.model.checker import Step, check
from tests.model.protocol import Protocol
from tests.model.runs import BROKEN, run, sample
from tests.model.state import Rules


@pytest.mark.requirement("T-01", "T-04", "T-05", "T-09", "T-14")
@pytest.mark.parametrize(
    "model", [*sample()], ids=lambda model: f"{model.faults}-{model.policy}-{model.ended_by}"
)
def test_the_protocol_holds(model: Protocol) -> None:
    """No token is sent twice but for the named exceptions, nothing that ended comes back, nothing gets stuck.

    No session is lost that could have been kept, and whatever ends leaves no token behind.
    """
    checked, line = run(model)
    assert checked.trace is None, f"{line}\n{checked.trace}"


def test_only_the_named_exceptions_are_made_use_of() -> None:
    """A token is sent again for three reasons, each of which there has to be; without a fault for none."""
    assert {
        "somebody's marker was there",
        "its own answer was lost",
        "stopped between its last look at the lock and the sending",
    } == set(check(Protocol(processes=2, faults=1)).excused)
    assert not check(Protocol(faults=0, ended_by="logout")).excused


def test_every_rule_has_its_absence_tried() -> None:
    """There is no rule that nobody knows the use of."""
    assert [field.name for field in fields(Rules)] == list(BROKEN)


@pytest.mark.parametrize("rule", BROKEN)
def test_without_a_rule_the_checker_finds_what_goes_wrong(rule: str) -> None:
    """Each rule taken out has a way to something wrong, and the way can be read."""
    model, problem = BROKEN[rule]
    trace = check(model).trace
    assert trace is not None
    assert problem == trace.problem
    told = str(trace)
    assert f"{len(trace.steps)}. {trace.steps[-1][0]}" in told
    assert {"process A"} <= {" ".join(what.split()[:2]) for what, _ in trace.steps}


@dataclass(frozen=True)
class Stairs:
    """A model of going up and down a flight of stairs."""

    top: int
    trapdoor: int = 0  # from here there is no way but down the cellar
    rotten: int = 0

    def first(self) -> int:
        return 1

    def canonical(self, state: int) -> int:
        return state

    def wrong(self, state: int) -> str:
        return "a rotten stair" if state == self.rotten else ""

    def settled(self, state: int) -> bool:
        return state == self.top

    def steps(self, state: int) -> Iterator[Step[int]]:
        if state == self.trapdoor:
            yield Step("falls", -1)
        elif 0 < state < self.top:
            yield Step("one up", state + 1)
            yield Step("two up", min(state + 2, self.top))
            yield Step("is carried back", 1, fault=True)


def test_the_checker_finds_the_shortest_way() -> None:
    """What is wrong is told by the fewest steps that lead there."""
    checked = check(Stairs(top=9, rotten=6))
    assert checked.trace is not None
    assert ("a rotten stair", 3) == (checked.trace.problem, len(checked.trace.steps))
    assert 6 == checked.trace.steps[-1][1]


def test_the_checker_finds_where_there_is_no_way_on() -> None:
    """A state from which nothing good can come any more is stuck, whatever faults could do."""
    assert check(Stairs(top=9)).trace is None
    stuck = check(Stairs(top=9, trapdoor=4)).trace
    assert stuck is not None
    assert "there is no way on from here" == stuck.problem
    assert "there is no way on from here" in str(check(Stairs(top=2, trapdoor=1)).trace)
