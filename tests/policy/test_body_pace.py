"""The pace of a body (H-12)."""

import math

import pytest

from bff.policy.body_pace import BodyPace
from bff.settings.model import RouteSettings


def not_taken(rate: float, window: float, total: float) -> BodyPace:
    limits = {"body_min_rate": rate, "body_rate_window": window, "body_total_timeout": total}
    route = {"path": "/api", "upstream": "http://backend"}
    return BodyPace(RouteSettings.model_validate(route | limits), 0.0)


def pace(rate: float = 10, window: float = 30, total: float = 1000) -> BodyPace:
    begun = not_taken(rate, window, total)
    begun.go_on(0.0)
    return begun


@pytest.mark.requirement("H-12")
def test_each_byte_buys_time() -> None:
    """One byte every eight seconds is late after the window; the rate itself never is."""
    slow = pace()
    for now in (8, 16, 24):
        slow.took(1, now)
    assert 30.0 + 0.0 <= slow.due < 31
    steady = pace()
    for now in range(1, 500):
        steady.took(10, now)
        assert now < steady.due


@pytest.mark.requirement("H-12")
def test_a_burst_buys_no_more_than_the_window() -> None:
    """A megabyte at once does not pay for a day of trickling."""
    burst = pace()
    burst.took(1_000_000, 1.0)
    assert 31.0 == burst.due


@pytest.mark.requirement("H-12")
def test_the_whole_is_bounded() -> None:
    """However steady, a body has an end."""
    steady = pace(total=100)
    steady.took(1_000_000, 90.0)
    assert 100.0 == steady.due
    unhurried = pace(rate=0, total=100)
    unhurried.took(1, 1.0)
    assert 100.0 == unhurried.due


def test_what_we_make_the_client_wait_does_not_count() -> None:
    """Time between `stop` and `go_on` is ours."""
    paused = pace(total=40)
    paused.stop(10.0)
    paused.stop(15.0)
    assert math.inf == paused.due
    paused.go_on(60.0)
    paused.go_on(70.0)
    assert 80.0 == paused.due
    paused.took(1_000_000, 70.0)
    assert 90.0 == paused.due
    assert math.inf == not_taken(10, 30, 40).due  # not yet taken at all
