"""Decisions about a session's tokens. Pure: the caller brings the time, and acts."""

import zlib
from dataclasses import dataclass
from typing import Literal

from bff.session.lifetime import CLOCKS_APART, ended, next_slide
from bff.session.model import CallSession, Session, Tokens
from bff.settings.model import RefreshSettings, SessionSettings

Cause = Literal["ahead", "expiry", "unauthorized", "manual"]
"""The cause of a rotation: in the background before they end, as they have ended, for a 401, by the page."""

_LEEWAY_SHARE = 0.25  # of a token's life: a leeway longer than its life would refresh on every call
_SPREAD_SHARE = 0.25  # of a token's life, over which the sessions' own moments are spread
_REFRESH_TOKEN_LEFT = 0.25  # of a refresh token's life: a pause of its user must not outlast it
_ON_THE_WAY = 1.0  # seconds: a token with less left could end before it is looked at
_ON_THE_WAY_SHARE = 0.02
_MARKER_FRESH = 10.0  # seconds for which a marker speaks for itself: somebody is at it


@dataclass(frozen=True, slots=True)
class UseToken:
    """The access token at hand is good."""


@dataclass(frozen=True, slots=True)
class UseAndRefresh:
    """The access token at hand is good for now: rotate beside the call."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """Rotate first; if that fails for now, `token_ended` says whether the token at hand may serve."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Expired:
    """The session is over: its time is up, or its token is and cannot be renewed."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Repeat the call with the session's present token, which is newer than the one sent."""


@dataclass(frozen=True, slots=True)
class PassOn:
    """The backend's 401 is its answer."""


_USE_TOKEN = UseToken()
_USE_AND_REFRESH = UseAndRefresh()


def plan_use(
    session: Session, now: float, settings: RefreshSettings
) -> UseToken | UseAndRefresh | Refresh | Expired:
    """Decides before a call: use the token, refresh beside it or first, or sign in again.

    A call waits only for a token that is over. Who is in use long before the access or the refresh token
    ends is refreshed beside a call, at a moment of the session's own (`ahead_at`), unless its marker says
    that somebody is at it.
    """
    if ended(session, now):
        return Expired()
    tokens = session.tokens
    access_end = _access_end(tokens)
    if access_end is not None:
        life, left = access_end - tokens.obtained_at, access_end - now
        if tokens.refresh_token is None:
            return _USE_TOKEN if left > 0 else Expired()
        if left <= min(_ON_THE_WAY, _ON_THE_WAY_SHARE * life):
            return Refresh("expiry")
    if tokens.refresh_token is None or now < ahead_at(session, settings) or _under_way(session, now):
        return _USE_TOKEN
    return _USE_AND_REFRESH


def token_ended(session: Session, now: float) -> bool:
    """Returns True if the access token, or the session, is over: then the token is sent to nobody."""
    access_end = _access_end(session.tokens)
    return ended(session, now) or (access_end is not None and now >= access_end)


def ahead_at(session: CallSession, settings: RefreshSettings) -> float:
    """Returns from when a session in use is rotated in the background, in seconds since the epoch.

    For the access token the leeway before its end, and up to a quarter of its life earlier: each session has
    a moment of its own, the same in every process, so that those who signed in together do not all rotate
    together. For a refresh token that lives anew with each rotation from half to three quarters of its life:
    unlike an access token, one that has ended cannot be renewed. The earlier one counts.
    """
    tokens = session.tokens
    share = _SPREAD_SHARE * zlib.crc32(session.key.encode()) / 2**32
    moment, begin = session.ends, tokens.obtained_at
    access_end, refresh_end = tokens.access_expires_at, tokens.refresh_expires_at
    if access_end is not None and access_end > begin:  # as `_access_end` says
        life = access_end - begin
        moment = access_end - min(settings.leeway, _LEEWAY_SHARE * life) - share * life
    if refresh_end is not None and refresh_end > begin and tokens.refresh_end_moves:
        moment = min(moment, refresh_end - (_REFRESH_TOKEN_LEFT + share) * (refresh_end - begin))
    return moment


def _access_end(tokens: Tokens) -> float | None:
    """Returns when the access token ends; None where no lifetime is known, or none that can be meant."""
    end = tokens.access_expires_at
    return None if end is None or end <= tokens.obtained_at else end  # else each call would rotate


def _under_way(session: Session, now: float) -> bool:
    marker = session.refreshing
    return marker is not None and not marker.lost and abs(now - marker.at) < _MARKER_FRESH


def plan_after_401(
    session: Session,
    now: float,
    *,
    sent_version: int,
    invalid_token: bool,
    mode: Literal["any", "invalid_token", "never"],
    settings: RefreshSettings,
) -> Retry | Refresh | PassOn:
    """Decides after a backend's 401 (RFC 6750 3.1); `invalid_token` is whether it used that error code.

    A young token is not refreshed: an endpoint that answers 401 for reasons of its own, a wrong
    password, say, must not rotate tokens on each call.
    """
    if mode == "never" or (mode == "invalid_token" and not invalid_token):
        return PassOn()
    if session.version > sent_version:
        return Retry()
    if session.tokens.refresh_token is None or ended(session, now):
        return PassOn()
    age = now - session.tokens.obtained_at
    if -CLOCKS_APART < age < settings.min_age_for_401:  # below: the clock was put back, and tells no age
        return PassOn()
    return Refresh("unauthorized")


def quiet_until(session: Session, refresh: RefreshSettings, settings: SessionSettings) -> float:
    """Returns until when a session in use needs nothing done: the token good, no slide due, nothing over.

    Before that moment `plan_use` says `UseToken` and `slide_due` no; so one comparison answers both for a
    call. At or after it they have to be asked.
    """
    return min(next_slide(session, settings), good_until(session, refresh))


def good_until(session: CallSession, refresh: RefreshSettings) -> float:
    """Returns until when a session's token is good and need not be renewed: `plan_use` says `UseToken`."""
    tokens = session.tokens
    if tokens.refresh_token is not None:
        return min(session.ends, ahead_at(session, refresh))
    return session.ends if tokens.access_expires_at is None else min(session.ends, tokens.access_expires_at)
