"""Reads sessions from Redis for callers that have no task to wait with, and keeps them in the near cache.

Rule 1: a reader gives plain sessions alone. A session that it does not find, or that needs something done, is
`Sessions.find`'s to explain.
Rule 2: a session that was read is kept even if the caller has left meanwhile.
Rule 3: callers go on once all sessions that came together have been opened, so that their calls leave in a
row. A backend that gets one call at a time sleeps between two, and to wake it costs half a call.
"""

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from bff.crypto import session_key
from bff.policy.route_access import NO_ACCESS, AccessPlan
from bff.session.cached_session import CachedSession
from bff.session.decrypt_cache import DecryptCache
from bff.session.end_reasons import note_of
from bff.session.hash_read import Loaded, LoadedValues
from bff.session.lifetime import idle_allowance, last_moment, slide_after
from bff.session.model import CallSession, Session
from bff.session.near_cache import NearCache, Reading
from bff.session.record import Values, fingerprint, values_of
from bff.session.rotation_policy import good_until
from bff.session.store import SessionStore
from bff.settings.model import RefreshSettings, SessionSettings
from bff.tasks import report

Then = Callable[[CachedSession | None], None]


class SessionReader:
    """The reads of one process. `clock` gives seconds since the epoch; without a `cache` nothing is kept."""

    def __init__(
        self,
        *,
        store: SessionStore,
        before: DecryptCache,
        settings: SessionSettings,
        refresh: RefreshSettings,
        clock: Callable[[], float],
        cache: NearCache | None,
        plan: AccessPlan = NO_ACCESS,
        providers: Collection[str] | None = None,
    ) -> None:
        self._providers = providers
        self._store = store
        self._before = before
        self._settings = settings
        self._refresh = refresh
        self._clock = clock
        self._cache = cache
        self._plan = plan
        self._read: list[tuple[Then, CachedSession | None]] = []  # whose callers have not gone on
        self._idle, self._slide_after = idle_allowance(settings), slide_after(settings)

    def read(self, handle: str, then: Then) -> None:
        """Reads the session of a handle of ours, and calls `then` with it, or with None, soon."""
        key = session_key(handle)
        reading = None if self._cache is None else self._cache.reading(key)
        self._store.ask(key, partial(self._answered, handle, key, reading, then), timed=reading is not None)

    def keep(self, reading: Reading, handle: str, session: Session, loaded: Loaded) -> None:
        """Keeps a session that was read, for as long as it lives if nobody uses it."""
        packed = self._packed(handle, session, values_of(loaded.fields))
        left = last_moment(session, self._settings) - self._clock()
        reading.keep(
            packed.value, packed.entry, left if loaded.lifetime is None else min(left, loaded.lifetime)
        )

    def _packed(self, handle: str, session: CallSession, values: Values) -> CachedSession:
        good = good_until(session, self._refresh)
        quiet = min(good, session.seen + self._slide_after)  # `quiet_until`, with what is known of it
        return CachedSession.of(handle, session, quiet, good, fingerprint(values), plan=self._plan)

    def _answered(
        self, handle: str, key: str, reading: Reading | None, then: Then, loaded: LoadedValues | Exception
    ) -> None:
        found = None
        try:
            if isinstance(loaded, LoadedValues):
                found = self._found(handle, key, loaded, reading)
        finally:
            if reading is not None:
                reading.end()
            if not self._read:
                asyncio.get_running_loop().call_soon(self._go_on)
            self._read.append((then, found))

    def _go_on(self) -> None:
        """Lets the callers of all sessions go on that were read in one turn (Rule 3)."""
        read, self._read = self._read, []
        for then, found in read:
            try:
                then(found)
            except Exception as mistake:  # noqa: BLE001 - it is reported, and holds nobody else up
                report("a reader of sessions failed", mistake)

    def _found(
        self, handle: str, key: str, loaded: LoadedValues, reading: Reading | None
    ) -> CachedSession | None:
        values, lifetime, note = loaded
        before = self._before
        packed = before.opened(key, values, handle) if self._cache is None else None  # `DecryptCache`, Rule 3
        if packed is None:
            opened = before.open(key, values, handle)
            if opened is None:
                return None
            packed = self._packed(handle, opened, values)
            if self._cache is None:
                before.keep(packed, values)
            last, provider = min(opened.ends, opened.seen + self._idle), opened.provider
        else:
            last, provider = packed.last_moment(self._idle), packed.provider
        if note is not None and note_of(note, packed.version) is not None:
            return None
        left = last - self._clock()
        if left <= 0:  # as `time_is_up` says with its reason
            return None
        if self._providers is not None and provider not in self._providers:
            return None
        if reading is not None:
            reading.keep(packed.value, packed.entry, left if lifetime is None else min(left, lifetime))
        return packed
