"""When the provider may be asked."""

import pytest

from bff.refresh.pauses import LATER, SEVERAL, Circuit, Permit, SessionPauses


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[bool]:
    return []


@pytest.fixture
def circuit(clock: Clock, told: list[bool]) -> Circuit:
    return Circuit(clock, told.append)


def permit(circuit: Circuit, session: str = "a") -> Permit:
    given = circuit.permit(session)
    assert given is not None
    return given


def test_what_all_would_meet_opens_the_circuit_at_once(circuit: Circuit, clock: Clock) -> None:
    """Nobody may ask for half a second to one, then one may, and nobody beside it."""
    permit(circuit).failed(None)
    assert 0.5 <= circuit.left() <= 1.0
    assert circuit.permit("b") is None
    clock.now += 1
    assert 0.0 == circuit.left()
    with permit(circuit) as probe:
        assert probe.probe
        assert 1.0 == circuit.left()
        assert circuit.permit("b") is None
        probe.answered()
    assert 0.0 == circuit.left()
    assert not permit(circuit).probe


@pytest.mark.requirement("T-16")
def test_lost_answers_of_several_sessions_open_it(circuit: Circuit) -> None:
    """One session's are no outage, however many; those of several are, with no good one between."""
    for number in range(3 * SEVERAL):
        permit(circuit, "a").lost()
        permit(circuit, str(number)).lost()
        permit(circuit, "b").answered()
    for _ in range(3 * SEVERAL):
        permit(circuit, "a").lost()
    assert 0.0 == circuit.left()
    for number in range(SEVERAL - 1):
        assert 0.0 == circuit.left()
        permit(circuit, str(number)).lost()
    assert 0.0 < circuit.left()


@pytest.mark.requirement("T-08")
def test_a_probe_that_fails_makes_the_next_pause_longer(circuit: Circuit, clock: Clock) -> None:
    """Doubling, with jitter, up to five seconds, however long the outage; short again once it was closed."""
    permit(circuit).failed(None)
    for length in (2, 4, 5, 5, 5, 5):
        clock.now += 5
        permit(circuit).lost()
        assert length / 2 <= circuit.left() <= length
    clock.now += 5
    permit(circuit).answered()
    permit(circuit).failed(None)
    assert circuit.left() <= 1.0


@pytest.mark.requirement("T-17")
def test_late_answers_open_it_and_one_that_comes_closes_it(circuit: Circuit, clock: Clock) -> None:
    """A provider that hangs is left alone; one that is slow works."""
    calls = [permit(circuit, str(number)) for number in range(SEVERAL)]
    for call in calls:
        call.late()
    assert 0.0 < circuit.left()
    clock.now += 1
    with permit(circuit) as probe:
        probe.late()
        assert 1.0 <= circuit.left() <= 2.0
        calls[0].answered()
        assert 0.0 == circuit.left()
    assert not permit(circuit).probe


@pytest.mark.requirement("T-17")
def test_a_late_probe_keeps_no_other_one_from_asking(circuit: Circuit, clock: Clock) -> None:
    """It may never be answered, and its end is not that of the next."""
    permit(circuit).failed(None)
    clock.now += 1
    with permit(circuit) as first:
        first.late()
        clock.now += 2
        second = permit(circuit, "b")
        assert second.probe
    assert 1.0 == circuit.left()  # the second is under way


def test_twenty_that_fail_together_count_as_one(circuit: Circuit) -> None:
    """Calls that began before the circuit opened neither lengthen its pause nor close it."""
    together = [permit(circuit) for _ in range(20)]
    for each in together[:-1]:
        each.failed(None)
    assert circuit.left() <= 1.0
    together[-1].answered()
    assert 0.0 < circuit.left()


@pytest.mark.parametrize(("expected", "asked"), [(60.0, 60.0), (300.0, 3600.0)])
def test_the_provider_may_ask_for_a_longer_pause(circuit: Circuit, expected: float, asked: float) -> None:
    """`Retry-After` counts, up to five minutes."""
    permit(circuit).failed(asked)
    assert expected == circuit.left()


def test_a_probe_that_comes_to_nothing_lets_the_next_one_try(circuit: Circuit, clock: Clock) -> None:
    """It was cancelled, or never sent: its place is free again."""
    permit(circuit).failed(None)
    clock.now += 1
    with pytest.raises(TimeoutError), permit(circuit):
        raise TimeoutError
    assert permit(circuit).probe


def test_who_wants_to_know_is_told_of_changes_only(circuit: Circuit, clock: Clock, told: list[bool]) -> None:
    """Opened, and closed; not of each failure."""
    permit(circuit).answered()
    permit(circuit).failed(None)
    clock.now += 1
    permit(circuit).failed(None)
    clock.now += 2
    permit(circuit).answered()
    assert [True, False] == told


def test_a_clock_that_is_put_back_ends_a_pause(circuit: Circuit, clock: Clock) -> None:
    """Else an hour back would be an hour of 503."""
    permit(circuit).failed(None)
    clock.now -= 3600
    assert 0.0 == circuit.left()


def test_each_session_has_a_pause_of_its_own(clock: Clock) -> None:
    """One that was refused waits, longer each time; others do not; success forgets."""
    pauses = SessionPauses(clock)
    pauses.begin("a", None)
    pauses.begin("a", None)
    assert 1.0 <= pauses.left("a") <= 2.0
    assert 0.0 == pauses.left("b")
    pauses.begin("b", 9.0)
    assert 9.0 == pauses.left("b")
    assert not pauses.needs_user("b")
    pauses.begin("b", None, longest=LATER, why="user_needed")
    assert pauses.needs_user("b")
    pauses.forget("a")
    pauses.forget("never")
    assert 0.0 == pauses.left("a")


def test_the_sessions_that_wait_are_bounded(clock: Clock) -> None:
    """A provider that refuses everybody fills no memory: the oldest pauses are given up."""
    pauses = SessionPauses(clock)
    for number in range(10_001):
        pauses.begin(str(number), 9.0)
    assert 0.0 == pauses.left("0")
    assert 9.0 == pauses.left("1")
