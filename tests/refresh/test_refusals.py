"""Whose matter a refusal is."""

import pytest

from bff.refresh.circuit_breaker import SEVERAL
from bff.refresh.refusals import MANY, SECONDS, TIMES, Refusals

KIND = "400 None"


class World:
    """A clock, and how many good answers there were."""

    def __init__(self) -> None:
        self.now, self.granted = 1000.0, 0
        self.refusals = Refusals(lambda: self.now, lambda: self.granted)

    def note(self, session: str, *, kind: str = KIND, passing: bool = False) -> str:
        return self.refusals.note(session, kind, passing=passing)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.requirement("T-16")
def test_one_that_repeats_for_a_while_is_the_sessions_end(world: World) -> None:
    """Not within a moment, and not by the first ones, however long ago."""
    for _ in range(TIMES):
        assert "single" == world.note("a")
    world.now += SECONDS
    assert "repeated" == world.note("a")
    for _ in range(TIMES - 1):
        assert "single" == world.note("b")
        world.now += SECONDS
    assert "repeated" == world.note("b")


def test_how_often_and_how_long_that_is(world: World) -> None:
    """The third one, ten seconds after the first: a dead token holds its user up no longer."""
    assert "single" == world.note("a")
    world.now += 5
    assert "single" == world.note("a")
    world.now += 4.9
    assert "single" == world.note("a")
    world.now += 0.1
    assert "repeated" == world.note("a")


def test_what_was_forgotten_begins_anew(world: World) -> None:
    """A good answer for the session ends its row."""
    for _ in range(TIMES - 1):
        world.note("a")
    world.refusals.forget("a")
    world.refusals.forget("never")
    world.now += SECONDS
    assert "single" == world.note("a")


def test_what_several_meet_ends_nobody(world: World) -> None:
    """Until somebody is given tokens: then it was about these sessions after all."""
    for _ in range(TIMES + 1):
        assert ["single"] * SEVERAL == [world.note(str(number)) for number in range(SEVERAL)]
        world.now += SECONDS
    world.granted += 1
    assert ["repeated"] * (SEVERAL - 1) == [world.note(str(number)) for number in range(SEVERAL - 1)]


def test_sessions_that_meet_different_things_are_no_outage(world: World) -> None:
    """Each has a trouble of its own."""
    names = [str(number) for number in range(2 * SEVERAL)]
    for _ in range(TIMES - 1):
        assert ["single"] * len(names) == [world.note(name, kind=name) for name in names]
    world.now += SECONDS
    assert ["repeated"] * len(names) == [world.note(name, kind=name) for name in names]


def test_what_many_meet_is_the_providers_trouble(world: World) -> None:
    """Good answers between them say otherwise."""
    for number in range(2 * MANY):
        assert "single" == world.note(str(number))
        world.granted += 1
    assert ["single"] * (MANY - 2) == [world.note(str(number)) for number in range(1, MANY - 1)]
    assert ["single", "many", "many"] == [world.note(name) for name in "xyz"]


def test_what_says_itself_that_it_passes_ends_nobody(world: World) -> None:
    """`temporarily_unavailable`, a redirect to a maintenance page."""
    for _ in range(2 * TIMES):
        assert "single" == world.note("a", passing=True)
        world.now += SECONDS


def test_a_clock_that_is_put_back_ends_nobody_early(world: World) -> None:
    """The row counts from the earlier moment."""
    for _ in range(TIMES):
        world.note("a")
    world.now -= 3600
    assert "single" == world.note("a")


def test_both_memories_are_bounded(world: World) -> None:
    """Words and sessions without end fill nothing."""
    for number in range(10_100):
        world.note(str(number), kind=str(number))
    assert 10_000 == len(world.refusals._sessions)
    assert 50 == len(world.refusals._kinds)
