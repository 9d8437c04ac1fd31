"""The lifetime of a session: its idle timeout, its latest end, its time to live in Redis. Pure."""

from bff.errors import Problem
from bff.session.model import EndReason, NoSession, Session, Tokens
from bff.settings.model import SessionSettings

CLOCKS_APART = 30.0
"""The number of seconds by which the clocks of our processes may differ."""

_TIMES = frozenset({EndReason.IDLE, EndReason.MAX_LIFETIME, EndReason.EXPIRED})
_IDLE_TOLERANCE = 0.1  # of the idle timeout
_SLIDE_SHARE = 0.25  # of the idle timeout, so that sliding keeps up with a short one


def session_end(now: float, created: float, tokens: Tokens, settings: SessionSettings) -> float:
    """Returns when a session ends at the latest: never later than its refresh token (RFC 10017 6.1.2.2)."""
    latest = created + settings.max_lifetime
    if tokens.refresh_expires_at is not None:
        latest = min(latest, tokens.refresh_expires_at)
    return max(latest, now)


def record_ttl(ends: float, now: float, idle_timeout: float) -> int:
    """Returns the TTL of a record after a use, in milliseconds: the idle timeout, never past `ends`."""
    return min(milliseconds(idle_timeout), milliseconds(ends - now))


def ends_by(ends: float, ttl: int, now: float) -> EndReason:
    """Returns the reason for which a session ends when its record's TTL (milliseconds) runs out."""
    return EndReason.IDLE if ttl < milliseconds(ends - now) else EndReason.MAX_LIFETIME


def milliseconds(seconds: float) -> int:
    """Returns a duration as Redis takes it: at least 1."""
    return max(1, round(seconds * 1000))


def ended(session: Session, now: float) -> bool:
    """Returns True if the absolute lifetime is over."""
    return now >= session.ends


def idle_over(session: Session, now: float, settings: SessionSettings) -> bool:
    """Returns True if the session was unused for longer than it may be, whatever its record's TTL says.

    Its processes' clocks may differ a little, and `seen` is in whole seconds.
    """
    return now >= _idle_end(session.seen, settings)


def time_is_up(session: Session, now: float, settings: SessionSettings) -> EndReason | None:
    """Returns why the session's time is up; None while it is not."""
    if ended(session, now):
        return EndReason.MAX_LIFETIME
    return EndReason.IDLE if idle_over(session, now, settings) else None


def last_moment(session: Session, settings: SessionSettings) -> float:
    """Returns until when a session lives at most, if it is not used any more."""
    return last_moment_of(session.seen, session.ends, settings)


def last_moment_of(seen: float, ends: float, settings: SessionSettings) -> float:
    """Returns the last moment of a session that was last used at `seen` and ends at `ends` at the latest."""
    return min(ends, _idle_end(seen, settings))


def idle_allowance(settings: SessionSettings) -> float:
    """Returns the seconds that a session lives behind its last use: the idle timeout, and a tolerance."""
    return settings.idle_timeout + max(1.0, min(CLOCKS_APART, _IDLE_TOLERANCE * settings.idle_timeout))


def _idle_end(seen: float, settings: SessionSettings) -> float:
    return seen + idle_allowance(settings)


def slide_after(settings: SessionSettings) -> float:
    """Returns the seconds behind a noted use after which the next one is to be noted."""
    return min(settings.slide_interval, _SLIDE_SHARE * settings.idle_timeout)


def next_slide(session: Session, settings: SessionSettings) -> float:
    """Returns the time of the next use that is to be written down."""
    return session.seen + slide_after(settings)


def slide_due(session: Session, now: float, settings: SessionSettings) -> bool:
    """Returns True if this use of the session is to be written down; at most once in the interval."""
    since = now - session.seen
    return since >= settings.slide_interval or since >= _SLIDE_SHARE * settings.idle_timeout


def over(reason: EndReason) -> NoSession:
    """A session whose time was up has expired; any other was ended."""
    return NoSession(Problem.SESSION_EXPIRED if reason in _TIMES else Problem.SESSION_ENDED, reason)
