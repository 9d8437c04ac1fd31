"""When the provider may be asked."""

import pytest

from bff.refresh.circuit_breaker import LATER, SEVERAL, CircuitBreaker, Permit, SessionBackoff


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
def circuit_breaker(clock: Clock, told: list[bool]) -> CircuitBreaker:
    return CircuitBreaker(clock, told.append)


def permit(circuit_breaker: CircuitBreaker, session: str = "a") -> Permit:
    given = circuit_breaker.permit(session)
    assert given is not None
    return given


def test_what_all_would_meet_opens_the_circuit_at_once(circuit_breaker: CircuitBreaker, clock: Clock) -> None:
    """Nobody may ask for half a second to one, then one may, and nobody beside it."""
    permit(circuit_breaker).failed(None)
    assert 0.5 <= circuit_breaker.left() <= 1.0
    assert circuit_breaker.permit("b") is None
    clock.now += 1
    assert 0.0 == circuit_breaker.left()
    with permit(circuit_breaker) as probe:
        assert probe.probe
        assert 1.0 == circuit_breaker.left()
        assert circuit_breaker.permit("b") is None
        probe.answered()
    assert 0.0 == circuit_breaker.left()
    assert not permit(circuit_breaker).probe


@pytest.mark.requirement("T-16")
def test_lost_answers_of_several_sessions_open_it(circuit_breaker: CircuitBreaker) -> None:
    """One session's are no outage, however many; those of several are, with no good one between."""
    for number in range(3 * SEVERAL):
        permit(circuit_breaker, "a").lost()
        permit(circuit_breaker, str(number)).lost()
        permit(circuit_breaker, "b").answered()
    for _ in range(3 * SEVERAL):
        permit(circuit_breaker, "a").lost()
    assert 0.0 == circuit_breaker.left()
    for number in range(SEVERAL - 1):
        assert 0.0 == circuit_breaker.left()
        permit(circuit_breaker, str(number)).lost()
    assert 0.0 < circuit_breaker.left()


@pytest.mark.requirement("T-08")
def test_a_probe_that_fails_makes_the_next_pause_longer(
    circuit_breaker: CircuitBreaker, clock: Clock
) -> None:
    """Doubling, with jitter, up to five seconds, however long the outage; short again once it was closed."""
    permit(circuit_breaker).failed(None)
    for length in (2, 4, 5, 5, 5, 5):
        clock.now += 5
        permit(circuit_breaker).lost()
        assert length / 2 <= circuit_breaker.left() <= length
    clock.now += 5
    permit(circuit_breaker).answered()
    permit(circuit_breaker).failed(None)
    assert circuit_breaker.left() <= 1.0


@pytest.mark.requirement("T-17")
def test_late_answers_open_it_and_one_that_comes_closes_it(
    circuit_breaker: CircuitBreaker, clock: Clock
) -> None:
    """A provider that hangs is left alone; one that is slow works."""
    calls = [permit(circuit_breaker, str(number)) for number in range(SEVERAL)]
    for call in calls:
        call.late()
    assert 0.0 < circuit_breaker.left()
    clock.now += 1
    with permit(circuit_breaker) as probe:
        probe.late()
        assert 1.0 <= circuit_breaker.left() <= 2.0
        calls[0].answered()
        assert 0.0 == circuit_breaker.left()
    assert not permit(circuit_breaker).probe


@pytest.mark.requirement("T-17")
def test_a_late_probe_keeps_no_other_one_from_asking(circuit_breaker: CircuitBreaker, clock: Clock) -> None:
    """It may never be answered, and its end is not that of the next."""
    permit(circuit_breaker).failed(None)
    clock.now += 1
    with permit(circuit_breaker) as first:
        first.late()
        clock.now += 2
        second = permit(circuit_breaker, "b")
        assert second.probe
    assert 1.0 == circuit_breaker.left()  # the second is under way


def test_twenty_that_fail_together_count_as_one(circuit_breaker: CircuitBreaker) -> None:
    """Calls that began before the circuit opened neither lengthen its pause nor close it."""
    together = [permit(circuit_breaker) for _ in range(20)]
    for each in together[:-1]:
        each.failed(None)
    assert circuit_breaker.left() <= 1.0
    together[-1].answered()
    assert 0.0 < circuit_breaker.left()


@pytest.mark.parametrize(("expected", "asked"), [(60.0, 60.0), (300.0, 3600.0)])
def test_the_provider_may_ask_for_a_longer_pause(
    circuit_breaker: CircuitBreaker, expected: float, asked: float
) -> None:
    """`Retry-After` counts, up to five minutes."""
    permit(circuit_breaker).failed(asked)
    assert expected == circuit_breaker.left()


def test_a_probe_that_comes_to_nothing_lets_the_next_one_try(
    circuit_breaker: CircuitBreaker, clock: Clock
) -> None:
    """It was cancelled, or never sent: its place is free again."""
    permit(circuit_breaker).failed(None)
    clock.now += 1
    with pytest.raises(TimeoutError), permit(circuit_breaker):
        raise TimeoutError
    assert permit(circuit_breaker).probe


def test_who_wants_to_know_is_told_of_changes_only(
    circuit_breaker: CircuitBreaker, clock: Clock, told: list[bool]
) -> None:
    """DecryptCache, and closed; not of each failure."""
    permit(circuit_breaker).answered()
    permit(circuit_breaker).failed(None)
    clock.now += 1
    permit(circuit_breaker).failed(None)
    clock.now += 2
    permit(circuit_breaker).answered()
    assert [True, False] == told


def test_a_clock_that_is_put_back_ends_a_pause(circuit_breaker: CircuitBreaker, clock: Clock) -> None:
    """Else an hour back would be an hour of 503."""
    permit(circuit_breaker).failed(None)
    clock.now -= 3600
    assert 0.0 == circuit_breaker.left()


def test_each_session_has_a_pause_of_its_own(clock: Clock) -> None:
    """One that was refused waits, longer each time; others do not; success forgets."""
    pauses = SessionBackoff(clock)
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
    pauses = SessionBackoff(clock)
    for number in range(10_001):
        pauses.begin(str(number), 9.0)
    assert 0.0 == pauses.left("0")
    assert 9.0 == pauses.left("1")
