"""A session that goes on under a new id (a step-up), and a sign-out by its former cookie at that moment.

The browser has the former cookie until the callback is answered, and another tab may sign out with it
meanwhile: after the former session has ended, before the new one is known to anybody.

Rule 1: each of the two writes under the former session's key what it did, and takes what the other one wrote,
in one step (`SET … GET`). So the one that comes second sees the first, and ends the new session.
Rule 2: that is kept for a minute: later the browser has the new cookie, and the former one is a stranger's.
"""

from bff.session.model import EndReason, Session
from bff.session.sessions import Found, NoSession, Sessions

_KIND = "next"
_SIGNED_OUT = "signed out"  # no key of a session
_KEPT = 60.0  # seconds


async def has_gone_on(sessions: Sessions, former: Found | NoSession, session: Session) -> bool:
    """Notes that a session goes on as another; False if it was signed out meanwhile."""
    if isinstance(former, NoSession):
        return True
    said = await sessions.one_time.swap(_KIND, former.session.key, session.key, lifetime=_KEPT)
    return said != _SIGNED_OUT


async def sign_out_next(sessions: Sessions, key: str) -> None:
    """Signs out the session that goes on for the one of this key, now or as soon as it does.

    Its tokens are sealed under its own cookie: they are not revoked, unless it comes later.
    """
    following: str | None = key
    while following is not None and following != _SIGNED_OUT:
        following = await sessions.one_time.swap(_KIND, following, _SIGNED_OUT, lifetime=_KEPT)
        if following is not None and following != _SIGNED_OUT:
            await sessions.bulk.end_keys([following], EndReason.LOGOUT)
