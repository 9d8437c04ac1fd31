"""The sessions of one user, or of one sign-in at the provider, that end together.

Rule 1: the end is noted before the indexes are read, so that a sign-in under way sees the note, or is seen
(T-15).
"""

from collections.abc import Mapping

from bff.session.model import EndReason, Session
from bff.session.store import SessionStore
from bff.settings.frontends import UNNAMED

NAMELESS = "\n"
"""Behind a `sub`, in a note's name: those sessions whose ID token named no sign-in. No `sub` holds it."""


def at_frontend(sub: str, frontend: str) -> str:
    """Returns the name of the note that a user's sessions at one frontend alone were ended."""
    return f"{sub}{NAMELESS}{frontend or UNNAMED}"


def names_of(session: Session) -> tuple[str, ...]:
    """Returns the names of the notes that can be about a session."""
    return session.sub, at_frontend(session.sub, session.frontend), session.sid or session.sub + NAMELESS


def ending_of(session: Session, notes: Mapping[str, EndReason]) -> EndReason | None:
    """Returns why a session was ended, by the notes of its names; None where none is about it.

    A user who ended their other sessions at the frontend without a name once left the note of all frontends:
    a process of an earlier version still does so during a rolling update.
    """
    for name in names_of(session):
        reason = notes.get(name)
        foreign = name == session.sub and session.frontend and reason is EndReason.SIGNED_OUT_ELSEWHERE
        if reason is not None and not foreign:
            return reason
    return None


async def affected(
    store: SessionStore, provider: str, *, sub: str | None, sid: str | None, now: float, reason: EndReason
) -> list[str]:
    """Notes the end, and returns the sessions' keys: of the sign-in, or without a `sid` of the user.

    With both, sessions of the user without a `sid` are among them: they could be of this sign-in, and nothing
    else would end them.
    """
    name, index = sid or sub, store.index
    assert name is not None, "who is it about?"
    await index.note_end(provider, name, now, reason)
    if not sid:
        return await index.of_user(provider, name)
    keys = await index.of_sid(provider, sid)
    if not sub:
        return keys
    await index.note_end(provider, sub + NAMELESS, now, reason)
    # A `sid` of somebody else's would be the provider's mistake.
    theirs = [key for key in keys if await _is_of(store, key, sub)]
    rest = [key for key in await index.of_user(provider, sub) if key not in keys]
    return theirs + [key for key in rest if await _is_of(store, key, sub, nameless=True)]


async def _is_of(store: SessionStore, key: str, sub: str, *, nameless: bool = False) -> bool:
    record = await store.load(key)
    return record is not None and record.get("sub") == sub and not (nameless and record.get("sid"))
