"""A user's own sessions, as a signed-in browser of theirs lists and ends them (B-23).

Rule 1: a session is looked for in the index of the user who asks, and nowhere else: no id of somebody else's
is ever looked up, so that neither answer nor time tells whether there is such a session.
Rule 2: an index may name sessions that are gone; a list leaves these out, and takes them out of the index.
Rule 3: who ends all others notes it first, so that a sign-in under way is ended with them (T-15).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bff.session.bulk_endings import at_frontend
from bff.session.end_reasons import note_of
from bff.session.hash_read import Loaded
from bff.session.lifetime import last_moment_of
from bff.session.model import ID_LENGTH, EndReason, Session
from bff.session.record import DEVICE
from bff.session.session_index import is_of
from bff.session.sessions import Sessions
from bff.session.store import SessionStore
from bff.settings.model import SessionSettings

MOST = 100
"""Sessions that a list shows at most: those that end last."""

_MOST_READ = 10 * MOST  # where an index holds those of other frontends, too
_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_LONGEST = 256  # characters of a field: a writer of Redis could have made it longer
_WHY = EndReason.SIGNED_OUT_ELSEWHERE


@dataclass(frozen=True, slots=True)
class OwnSession:
    """One of the user's sessions; times are in seconds since the epoch."""

    id: str
    created: int
    seen: int
    ends: int
    address: str
    user_agent: str
    current: bool
    bound: bool = False  # to a device, as far as the record says


class OwnSessions:
    """Lists and ends the sessions of the user of one of them. `clock` gives seconds since the epoch.

    Every method raises `StoreUnavailableError` when Redis fails.
    """

    def __init__(
        self,
        *,
        store: SessionStore,
        sessions: Sessions,
        settings: SessionSettings,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._settings = settings
        self._clock = clock

    async def of(self, session: Session) -> list[OwnSession]:
        """The sessions of this one's user: this one first, then the one that was used last, and so on."""
        most = _MOST_READ if session.frontend else MOST
        keys = await self._store.index.of_user(session.provider, session.sub, most=most)
        if session.key not in keys:
            keys = [session.key, *keys[: most - 1]]
        loaded = await self._store.load_all(keys)
        gone = [key for key, found in zip(keys, loaded, strict=True) if found is None]
        if gone:
            await self._store.index.drop_dead(session.provider, session.sub, gone)
        shown = [self._shown(session, key, found) for key, found in zip(keys, loaded, strict=True)]
        found = sorted((one for one in shown if one), key=lambda one: (not one.current, -one.seen, one.id))
        return found[:MOST]

    async def end_one(self, session: Session, id: str, address: str) -> bool:  # noqa: A002 - its name everywhere
        """Ends the session of this id for the user of `session`; False if they have no such session."""
        if _ID.fullmatch(id) is None:
            return False
        keys = await self._store.index.of_user(session.provider, session.sub)
        return await self._end(session, [key for key in keys if key.startswith(id)], address) > 0

    async def end_others(self, session: Session, address: str) -> int:
        """Ends all sessions of the user but this one, those too that are about to begin; how many."""
        index = self._store.index
        name = at_frontend(session.sub, session.frontend)
        await index.note_end(session.provider, name, self._clock(), _WHY)
        keys = await index.of_user(session.provider, session.sub)
        return await self._end(session, [key for key in keys if key != session.key], address)

    async def _end(self, session: Session, keys: Sequence[str], address: str) -> int:
        loaded = await self._store.load_all(keys)
        own = [key for key, found in zip(keys, loaded, strict=True) if found and _is_of(session, found)]
        return await self._sessions.bulk.end_keys(own, _WHY, address=address, by=session.id)

    def _shown(self, session: Session, key: str, loaded: Loaded | None) -> OwnSession | None:
        """A record as it is shown; None for one that is over, is not the user's, or was mangled."""
        if loaded is None or not _is_of(session, loaded):
            return None
        record = loaded.fields
        try:
            created, seen, ends = (int(float(record[name])) for name in ("created", "seen", "ends"))
            over = note_of(loaded.note, int(record["version"])) is not None
        except (KeyError, ValueError, OverflowError):
            return None
        if over or self._clock() >= last_moment_of(seen, ends, self._settings):
            return None
        return OwnSession(
            id=key[:ID_LENGTH],
            created=created,
            seen=seen,
            ends=ends,
            address=record.get("ip", "")[:_LONGEST],
            user_agent=record.get("ua", "")[:_LONGEST],
            current=key == session.key,
            bound=bool(record.get(DEVICE)),
        )


def _is_of(session: Session, loaded: Loaded) -> bool:
    """True for a record of the same user at the same provider and frontend; an index is no proof of that."""
    return is_of(session.frontend, loaded) and _whose(loaded) == (session.provider, session.sub)


def _whose(loaded: Loaded) -> tuple[str | None, str | None]:
    return loaded.fields.get("provider"), loaded.fields.get("sub")
