"""What to do with a session now. Pure: the caller brings the time, and acts."""

from dataclasses import dataclass
from typing import Literal

from bff.session.model import Session, Tokens
from bff.settings.model import RefreshSettings, SessionSettings

Cause = Literal["expiry", "unauthorized", "manual"]
"""Why tokens are rotated."""

_LEEWAY_SHARE = 0.25  # of a token's life: a leeway longer than its life would refresh on every call
_SLIDE_SHARE = 0.25  # of the idle timeout, so that sliding keeps up with a short one


@dataclass(frozen=True, slots=True)
class UseToken:
    """The access token at hand is good."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """Rotate first. `usable` says whether the token at hand may serve if that fails for now."""

    cause: Cause
    usable: bool


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


def plan_use(session: Session, now: float, settings: RefreshSettings) -> UseToken | Refresh | Expired:
    """Decides before a call: use the token, refresh first, or sign in again."""
    if ended(session, now):
        return Expired()
    tokens = session.tokens
    if tokens.access_expires_at is None:
        return _USE_TOKEN
    left = tokens.access_expires_at - now
    if left > settings.leeway or left > effective_leeway(tokens, settings.leeway):
        return _USE_TOKEN
    if tokens.refresh_token is None:
        return UseToken() if left > 0 else Expired()
    return Refresh("expiry", usable=left > 0)


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
    if now - session.tokens.obtained_at < settings.min_age_for_401:
        return PassOn()
    return Refresh("unauthorized", usable=False)


def ended(session: Session, now: float) -> bool:
    """Whether the absolute lifetime is over; the idle timeout is the record's TTL."""
    return now >= session.ends


def effective_leeway(tokens: Tokens, leeway: float) -> float:
    """The leeway in seconds, at most a quarter of the token's life."""
    if tokens.access_expires_at is None:
        return leeway
    return min(leeway, _LEEWAY_SHARE * (tokens.access_expires_at - tokens.obtained_at))


def slide_due(session: Session, now: float, settings: SessionSettings) -> bool:
    """Whether this use of the session is to be written down; not more often than the interval."""
    since = now - session.seen
    return since >= settings.slide_interval or since >= _SLIDE_SHARE * settings.idle_timeout


def quiet_until(session: Session, refresh: RefreshSettings, settings: SessionSettings) -> float:
    """Until when a session in use needs nothing done: the token good, no slide due, nothing over.

    Before that moment `plan_use` says `UseToken` and `slide_due` no; so one comparison answers both for a
    call. At or after it they have to be asked.
    """
    tokens = session.tokens
    slide = session.seen + min(settings.slide_interval, _SLIDE_SHARE * settings.idle_timeout)
    quiet = min(session.ends, slide)
    if tokens.access_expires_at is None:
        return quiet
    leeway = 0.0 if tokens.refresh_token is None else effective_leeway(tokens, refresh.leeway)
    return min(quiet, tokens.access_expires_at - leeway)


def session_end(now: float, created: float, tokens: Tokens, settings: SessionSettings) -> float:
    """When a session ends at the latest: never later than its refresh token (RFC 10017 6.1.2.2)."""
    latest = created + settings.max_lifetime
    if tokens.refresh_expires_at is not None:
        latest = min(latest, tokens.refresh_expires_at)
    return max(latest, now)
