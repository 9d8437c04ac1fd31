"""The lifetime of a session."""

import pytest

from bff.errors import Problem
from bff.session.lifetime import (
    ends_by,
    idle_over,
    last_moment,
    next_slide,
    over,
    record_ttl,
    session_end,
    slide_due,
    time_is_up,
)
from bff.session.model import EndReason
from bff.settings.model import SessionSettings
from tests.session.sample import NOW, sample_session, sample_tokens


def test_sliding_is_throttled() -> None:
    """Use is noted once in an interval, and often enough for a short idle timeout."""
    long = SessionSettings(idle_timeout=1800, slide_interval=60)
    assert not slide_due(sample_session(), NOW + 59, long)
    assert slide_due(sample_session(), NOW + 60, long)
    short = SessionSettings(idle_timeout=8, slide_interval=60)
    assert not slide_due(sample_session(), NOW + 1.9, short)
    assert slide_due(sample_session(), NOW + 2, short)
    assert [NOW + 60, NOW + 2] == [next_slide(sample_session(), settings) for settings in (long, short)]


@pytest.mark.requirement("B-16")
def test_a_session_never_outlives_its_refresh_token() -> None:
    """Where the refresh token's end is known, the session ends with it at the latest."""
    settings = SessionSettings(max_lifetime=1000)
    assert NOW + 1000 == session_end(NOW + 5, NOW, sample_tokens(), settings)
    assert NOW + 600 == session_end(NOW, NOW, sample_tokens(refresh_expires_at=NOW + 600), settings)
    assert NOW + 1000 == session_end(NOW, NOW, sample_tokens(refresh_expires_at=NOW + 2000), settings)
    assert NOW == session_end(NOW, NOW, sample_tokens(refresh_expires_at=NOW - 1), settings)


@pytest.mark.requirement("B-21")
@pytest.mark.parametrize(
    ("idle_timeout", "tolerance"),
    [(2, 1), (100, 10), (1800, 30)],
)
def test_an_idle_session_ends(idle_timeout: float, tolerance: float) -> None:
    """It ends once it was not used for the idle timeout and what clocks may differ by; see `last_moment`."""
    settings = SessionSettings().model_copy(update={"idle_timeout": idle_timeout})
    end = NOW + idle_timeout + tolerance
    assert not idle_over(sample_session(), end - 0.01, settings)
    assert idle_over(sample_session(), end, settings)
    assert end == last_moment(sample_session(), settings)


def test_no_use_carries_a_session_beyond_its_end() -> None:
    """Its last moment is the absolute end, where that comes before the idle one."""
    assert NOW + 5 == last_moment(sample_session(ends=NOW + 5), SessionSettings())


def test_which_time_is_up() -> None:
    """The absolute lifetime before the idle one; None while neither is over."""
    session, settings = sample_session(), SessionSettings()
    assert None is time_is_up(session, NOW, settings)
    assert EndReason.IDLE == time_is_up(session, session.ends - 1, settings)
    assert EndReason.MAX_LIFETIME == time_is_up(session, session.ends, settings)


def test_a_records_time_to_live() -> None:
    """The idle timeout in milliseconds, cut short by the session's end, and never 0, which Redis refuses."""
    session = sample_session(ends=NOW + 100)
    assert 30_000 == record_ttl(session.ends, NOW, 30)
    assert EndReason.IDLE is ends_by(session.ends, 30_000, NOW)
    assert 20_000 == record_ttl(session.ends, NOW + 80, 30)
    assert EndReason.MAX_LIFETIME is ends_by(session.ends, 20_000, NOW + 80)
    assert 1 == record_ttl(session.ends, NOW + 100, 30)


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        (EndReason.IDLE, Problem.SESSION_EXPIRED),
        (EndReason.MAX_LIFETIME, Problem.SESSION_EXPIRED),
        (EndReason.LOGOUT, Problem.SESSION_ENDED),
        (EndReason.PROVIDER_REMOVED, Problem.SESSION_ENDED),
    ],
)
def test_time_expires_and_everything_else_ends(reason: EndReason, problem: Problem) -> None:
    """The page tells them apart by the code."""
    assert (problem, reason) == (over(reason).problem, over(reason).reason)
