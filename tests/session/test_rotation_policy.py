"""What to do with a session now."""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.session.lifetime import slide_due
from bff.session.model import Refreshing, Session
from bff.session.rotation_policy import (
    Expired,
    PassOn,
    Refresh,
    Retry,
    UseAndRefresh,
    UseToken,
    ahead_at,
    good_until,
    plan_after_401,
    plan_use,
    quiet_until,
    token_ended,
)
from bff.settings.model import RefreshSettings, SessionSettings
from tests.session.sample import NOW, sample_session, sample_tokens

SETTINGS = RefreshSettings(leeway=30, min_age_for_401=30)


@pytest.mark.requirement("B-21")
@pytest.mark.parametrize(
    ("expected", "session", "after"),
    [
        (UseToken(), sample_session(), 0),
        (UseToken(), sample_session(), 194),
        (UseAndRefresh(), sample_session(), 270),
        (UseAndRefresh(), sample_session(), 298),
        (Refresh("expiry"), sample_session(), 299),
        (Refresh("expiry"), sample_session(), 300),
        (Expired(), sample_session(), 3600),
        (UseToken(), sample_session(tokens=sample_tokens(access_expires_at=None)), 3599),
        (UseToken(), sample_session(tokens=sample_tokens(access_expires_at=NOW)), 3599),
        (UseToken(), sample_session(tokens=sample_tokens(access_expires_at=NOW, refresh_token=None)), 99),
        (UseToken(), sample_session(tokens=sample_tokens(refresh_token=None)), 299),
        (Expired(), sample_session(tokens=sample_tokens(refresh_token=None)), 300),
    ],
)
def test_before_a_call(expected: object, session: Session, after: float) -> None:
    """The token is used while it is good, renewed in time, and no session outlives its end."""
    assert expected == plan_use(session, NOW + after, SETTINGS)


def test_a_short_token_is_not_refreshed_on_every_call() -> None:
    """The leeway is at most a quarter of the token's life, and so is what sessions differ by."""
    tokens = sample_tokens(access_expires_at=NOW + 20)
    session = sample_session(tokens=tokens)
    assert UseToken() == plan_use(session, NOW + 9.9, SETTINGS)
    assert UseAndRefresh() == plan_use(session, NOW + 15, SETTINGS)
    assert Refresh("expiry") == plan_use(session, NOW + 19.7, SETTINGS)


def ending(access: float | None, refresh: float | None, *, moves: bool = True) -> Session:
    """A session whose tokens end so long after NOW."""
    return sample_session(
        ends=NOW + (refresh or 3600),
        tokens=sample_tokens(
            access_expires_at=access and NOW + access,
            refresh_expires_at=refresh and NOW + refresh,
            refresh_end_moves=moves,
        ),
    )


@pytest.mark.requirement("T-18")
@pytest.mark.parametrize(
    ("expected", "session", "after"),
    [
        (UseToken(), ending(3600, 1800), 600),
        (UseAndRefresh(), ending(3600, 1800), 1350),
        (UseAndRefresh(), ending(3600, 8), 6),
        (UseAndRefresh(), ending(None, 8), 6),  # no `expires_in`
        (UseAndRefresh(), ending(None, 1800), 1350),
        (UseAndRefresh(), ending(0, 1800), 1350),  # a lifetime that cannot be meant
        (Expired(), ending(None, 8), 8),
        (Expired(), ending(3600, 8), 8),
        (UseToken(), ending(3600, 8, moves=False), 7),  # a rotation would not help
        (UseToken(), ending(300, 86400), 194),  # the access token comes first, as ever
        (UseAndRefresh(), ending(300, 86400), 270),
    ],
)
def test_what_ends_first_is_what_counts(expected: object, session: Session, after: float) -> None:
    """A session in use is rotated before its access token ends, and before its refresh token does."""
    assert expected == plan_use(session, NOW + after, SETTINGS)


@pytest.mark.requirement("T-19")
def test_when_a_token_has_ended() -> None:
    """From its very end on, or with its session; one without a lifetime that can be meant has none."""
    assert not token_ended(ending(300, None), NOW + 299.9)
    assert token_ended(ending(300, None), NOW + 300)
    assert not token_ended(ending(None, None), NOW + 3599)
    assert not token_ended(ending(0, None), NOW + 3599)
    assert token_ended(ending(None, None), NOW + 3600)


def test_sessions_that_began_together_are_not_refreshed_together() -> None:
    """A thousand of them, with tokens of an hour: spread over a quarter of it, no second has many."""
    tokens = sample_tokens(access_expires_at=NOW + 3600)
    keys = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(1000)]
    moments = [ahead_at(sample_session(key=key, tokens=tokens), SETTINGS) for key in keys]
    assert NOW + 2670 <= min(moments) <= NOW + 2700
    assert NOW + 3540 <= max(moments) <= NOW + 3570
    assert 10 >= max(Counter(int(moment) for moment in moments).values())
    assert moments[7] == ahead_at(sample_session(key=keys[7], tokens=tokens, version=9, seen=0), SETTINGS)
    endless = sample_session(tokens=sample_tokens(access_expires_at=None))
    assert endless.ends == ahead_at(endless, SETTINGS)


def test_a_session_that_somebody_is_refreshing_is_left_to_them() -> None:
    """A fresh marker speaks for itself, an old one or one that gave up does not; who has to wait waits."""
    at = NOW + 280
    by_another = Refreshing(at - 9, "b/7")
    assert UseToken() == plan_use(sample_session(refreshing=by_another), at, SETTINGS)
    assert UseAndRefresh() == plan_use(sample_session(refreshing=by_another), at + 2, SETTINGS)
    given_up = Refreshing(at - 9, "b/7", lost=True)
    assert UseAndRefresh() == plan_use(sample_session(refreshing=given_up), at, SETTINGS)
    over = plan_use(sample_session(refreshing=Refreshing(NOW + 300, "b/7")), NOW + 301, SETTINGS)
    assert Refresh("expiry") == over


@pytest.mark.parametrize(("expected", "back"), [(PassOn(), 20), (Refresh("unauthorized"), 3600)])
def test_a_clock_that_was_put_back_makes_no_token_young(expected: object, back: float) -> None:
    """A token from the future, by more than clocks differ, is old enough to be rotated for a 401."""
    outcome = plan_after_401(
        sample_session(), NOW - back, sent_version=1, invalid_token=True, mode="any", settings=SETTINGS
    )
    assert expected == outcome


@pytest.mark.requirement("T-11")
@pytest.mark.parametrize(
    ("expected", "mode", "invalid_token", "after", "version"),
    [
        (Refresh("unauthorized"), "any", False, 31, 1),
        (Refresh("unauthorized"), "invalid_token", True, 31, 1),
        (PassOn(), "invalid_token", False, 31, 1),
        (PassOn(), "never", True, 31, 1),
        (PassOn(), "any", True, 29, 1),
        (Retry(), "any", False, 0, 2),
        (PassOn(), "never", False, 0, 2),
        (PassOn(), "any", True, 3600, 1),
    ],
)
def test_after_a_401(expected: object, mode: str, invalid_token: bool, after: float, version: int) -> None:
    """A newer token is tried; a refresh is for tokens of some age, on routes that want it."""
    outcome = plan_after_401(
        sample_session(version=version),
        NOW + after,
        sent_version=1,
        invalid_token=invalid_token,
        mode=mode,  # type: ignore[arg-type] # a parameter's values are literals
        settings=SETTINGS,
    )
    assert expected == outcome


def test_a_401_without_a_refresh_token_is_passed_on() -> None:
    """There is nothing to renew with."""
    session = sample_session(tokens=sample_tokens(refresh_token=None))
    outcome = plan_after_401(
        session, NOW + 60, sent_version=1, invalid_token=True, mode="any", settings=SETTINGS
    )
    assert PassOn() == outcome


@given(
    after=st.floats(-10, 5000),
    session=st.builds(
        lambda life, refresh_life, ends, seen, refresh_token: sample_session(
            seen=NOW + seen,
            ends=NOW + ends,
            tokens=sample_tokens(
                access_expires_at=life and NOW + life,
                refresh_token=refresh_token,
                refresh_expires_at=refresh_life and NOW + refresh_life,
            ),
        ),
        life=st.none() | st.floats(1, 4000),
        refresh_life=st.none() | st.floats(1, 4000),
        ends=st.floats(1, 4000),
        seen=st.floats(0, 100),
        refresh_token=st.none() | st.just("refresh-1"),
    ),
    leeway=st.floats(0, 100),
    idle=st.floats(2, 4000),
)
def test_a_quiet_session_needs_nothing_done(
    after: float, session: Session, leeway: float, idle: float
) -> None:
    """Before `quiet_until` the token is good and no slide is due, whatever the session and the settings."""
    refresh = SETTINGS.model_copy(update={"leeway": leeway})
    settings = SessionSettings().model_copy(update={"idle_timeout": idle})
    now = min(NOW + after, quiet_until(session, refresh, settings) - 0.001)
    assert UseToken() == plan_use(session, now, refresh)
    assert not slide_due(session, now, settings)
    assert UseToken() == plan_use(session, min(NOW + after, good_until(session, refresh) - 0.001), refresh)


@pytest.mark.requirement("B-24")
def test_a_sessions_short_name_opens_nothing() -> None:
    """Logs and answers name a session by twelve characters of a hash."""
    assert "0" * 12 == sample_session().id


def test_all_claims_of_a_session() -> None:
    """The kept claims with `sub` and `sid` of the session's own fields, which no kept claim replaces."""
    session = replace(sample_session(), claims={"groups": ["staff"], "sub": "somebody else"})
    assert {"groups": ["staff"], "sub": session.sub, "sid": session.sid} == session.all_claims
