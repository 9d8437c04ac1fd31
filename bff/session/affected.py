"""The sessions of one user, or of one sign-in at the provider, that end together.

Rule 1: the end is noted before the indexes are read, so that a sign-in under way sees the note, or is seen
(T-15).
"""

from bff.session.model import EndReason
from bff.session.store import SessionStore

NAMELESS = "\n"
"""Behind a `sub`, in a note's name: those sessions whose ID token named no sign-in. No `sub` holds it."""


def elsewhere(sub: str, frontend: str) -> str:
    """Returns the name of the note that a user of one frontend has ended their other sessions there."""
    return f"{sub}{NAMELESS}{frontend}" if frontend else sub


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
