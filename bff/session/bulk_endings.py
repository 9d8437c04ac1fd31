"""Endings of many sessions: of a user, of a sign-in at the provider, of the oldest beyond a bound.

Rule 1: the end is noted before the indexes are read, so that a sign-in under way sees the note, or is seen
(T-15).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress

from bff.errors import StoreUnavailableError
from bff.observe.logs import audit
from bff.observe.metrics import Metrics
from bff.session.end_reasons import Ended
from bff.session.model import ID_LENGTH, EndReason, Session
from bff.session.session_cap import oldest_beyond
from bff.session.session_index import whose_is
from bff.session.store import SessionStore
from bff.settings.frontends import UNNAMED
from bff.settings.model import SessionSettings

_AT_ONCE = 100
"""Sessions that are ended by the same round trips."""

NAMELESS = "\n"
"""Behind a `sub`, in a note's name: those sessions whose ID token named no sign-in. No `sub` holds it."""


class BulkEndings:
    """Ends sessions whose handles are not known. The arguments are those of `Sessions`."""

    def __init__(
        self,
        store: SessionStore,
        settings: SessionSettings,
        metrics: Metrics,
        clock: Callable[[], float],
        *,
        ended: Ended,
        forgetting: Callable[..., AbstractContextManager[None]],
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._ended = ended
        self._forgetting = forgetting

    async def end_oldest(self, session: Session) -> None:
        """Ends the oldest sessions of a user who has more than `max_per_user` by this new one.

        Where Redis fails there are more for a while: the next sign-in does it.
        """
        most = self._settings.max_per_user
        if most is not None:
            with suppress(StoreUnavailableError):
                await self.end_keys(await oldest_beyond(self._store, session, most), EndReason.SESSION_LIMIT)

    async def end_all(self, provider: str, *, sub: str | None, sid: str | None, reason: EndReason) -> int:
        """Ends all sessions of a sign-in at the provider, or without a `sid` all of a user; how many.

        A sign-in of theirs that is under way finds out by `ended_since`.
        """
        keys = await affected(self._store, provider, sub=sub, sid=sid, now=self._clock(), reason=reason)
        return await self.end_keys(keys, reason)

    async def ended_since(self, session: Session, began: float) -> EndReason | None:
        """Returns why all of this session's user or sign-in was ended since `began`; None if not (T-15)."""
        notes = await self._store.index.notes_since(session.provider, names_of(session), began)
        return ending_of(session, notes)

    async def end_keys(self, keys: Sequence[str], reason: EndReason, **who: str | None) -> int:
        """Ends sessions whose handles are not known, many in few round trips; how many this call ended.

        `who` asked for it, for the audit log: their `address`, the session that they did it `by`.
        """
        count = 0
        for at in range(0, len(keys), _AT_ONCE):
            part = keys[at : at + _AT_ONCE]
            loaded = zip(part, await self._store.load_all(part), strict=True)
            there = {key: one.fields for key, one in loaded if one is not None}
            whose = {key: whose_is(fields) for key, fields in there.items()}
            with self._forgetting(*part):
                ended = await self._store.end_many(whose, reason, kept=self._settings.idle_timeout)
            for key in part:
                if key in ended:
                    (provider, sub, _), id_ = whose[key], key[:ID_LENGTH]
                    who |= {"sub": sub, "provider": provider, "frontend": there[key].get("frontend", "")}
                    self._metrics.session_ended(reason, who["frontend"])
                    audit("session_ended", session=id_, reason=reason, provider_revoked=False, **who)
                    self._ended(id_, sub, reason)
            count += len(ended)
        return count


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
