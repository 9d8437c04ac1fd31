"""Rate limits."""

import pytest

from bff.policy.rate_limiter import RateLimiter

pytestmark = pytest.mark.requirement("B-30")


def test_burst_then_rate() -> None:
    """A full bucket allows the burst; after that one more for each interval."""
    limiter = RateLimiter(per_minute=60, burst=3)
    assert [None, None, None, 1.0, 1.0] == [limiter.allow("a", 100.0) for _ in range(5)]
    assert 0.5 == limiter.allow("a", 100.5)
    assert None is limiter.allow("a", 101.0)
    assert 1.0 == limiter.allow("a", 101.0)
    assert [None, None, None, 1.0] == [limiter.allow("a", 1000.0) for _ in range(4)]


def test_refusals_cost_nothing() -> None:
    """Whoever goes on asking is not locked out for longer."""
    limiter = RateLimiter(per_minute=6, burst=1)
    assert None is limiter.allow("a", 0.0)
    for second in range(1, 10):
        assert 10.0 - second == limiter.allow("a", float(second))
    assert None is limiter.allow("a", 10.0)


def test_keys_are_apart() -> None:
    """One key's use leaves another's bucket full."""
    limiter = RateLimiter(per_minute=60, burst=1)
    assert None is limiter.allow("a", 0.0)
    assert None is limiter.allow("b", 0.0)
    assert 1.0 == limiter.allow("a", 0.0)


def test_whole_minute_at_once_by_default() -> None:
    """Without a burst of its own a bucket holds a minute's worth, to the last fraction."""
    limiter = RateLimiter(per_minute=7)
    outcomes = [limiter.allow("a", 0.3) for _ in range(8)]
    assert [None] * 7 == outcomes[:7]
    assert pytest.approx(60 / 7) == outcomes[7]


def test_a_clock_set_back() -> None:
    """A clock that goes backwards neither frees nor breaks a bucket."""
    limiter = RateLimiter(per_minute=60, burst=1)
    assert None is limiter.allow("a", 100.0)
    assert 6.0 == limiter.allow("a", 95.0)


def test_memory_is_bounded() -> None:
    """However many keys come, no more than the bound are kept, and the idlest goes first."""
    limiter = RateLimiter(per_minute=60, burst=1, max_keys=3)
    for key in ("a", "b", "c"):
        assert None is limiter.allow(key, 0.0)
    assert 1.0 == limiter.allow("a", 0.0)
    for number in range(2):
        assert None is limiter.allow(str(number), 0.0)
    assert 3 == len(limiter)
    assert 1.0 == limiter.allow("a", 0.0)
    assert None is limiter.allow("b", 0.0)


def test_memory_is_bounded_where_nobody_says_so() -> None:
    """Ten thousand addresses for each limit: an attacker who has more of them fills no memory."""
    limiter = RateLimiter(per_minute=60)
    for number in range(10_050):
        limiter.allow(str(number), 0.0)
    assert 10_000 == len(limiter)
