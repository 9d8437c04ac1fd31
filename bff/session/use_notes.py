"""Notes of use: once in an interval Redis is told that a session is in use, beside its calls.

Rule 1: of one session one note at a time is under way. Nothing here is a task: an answer of Redis is a call.
Rule 2: after each note, done or failed, the near cache forgets the session.
Rule 3: a session that was in the near cache is put back if Redis still has the record that it was read from,
and the `seen` that was written, and nothing is told of it meanwhile: it passes the gate of any read, and the
push of our own write counts as anybody's (it may tell of a deletion too: Redis joins the pushes of one turn).
All that is spared is to open the record again. A session that is not in the near cache is not read.
Rule 4: the push of the note has come before that read begins, nearly always (`use_writes.py`, Rule 4). One
that comes later spoils the read, which is then repeated, once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from bff.crypto import Keyring
from bff.errors import StoreUnavailableError
from bff.session.cached_session import CachedSession
from bff.session.hash_read import LoadedValues
from bff.session.lifetime import idle_allowance, milliseconds, slide_after
from bff.session.model import Session
from bff.session.near_cache import NearCache, Reading
from bff.session.record import FIELDS, fingerprint, format_seen
from bff.session.store import SessionStore
from bff.session.use_writes import Use
from bff.settings.model import SessionSettings

Noted = Callable[[str, StoreUnavailableError | None], None]
"""Is told, at the very end of a note, whose it was (the session's key), and why it failed, if it did."""

_TRIES: Final = 2  # the push of the note itself may come during the first
_URGENT: Final = 2.0  # seconds before its idle timeout that a session is noted at once; `seen` has whole ones
_SEEN: Final = FIELDS.index("seen")


@dataclass(slots=True)
class _Note:
    """A note under way.

    Attributes:
        seen: when, in whole seconds since the epoch; `ends` is the session's latest end.
        cached: the session as the near cache had it, where it did; `emptied` is the cache's count of then.
        tries: reads that are left.
    """

    use: Use
    seen: float
    ends: float
    then: Noted
    cached: CachedSession | None
    emptied: int
    tries: int = _TRIES


class UseNotes:
    """The notes of one frontend's sessions. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        store: SessionStore,
        keyring: Keyring,
        settings: SessionSettings,
        clock: Callable[[], float],
        cache: NearCache | None,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._cache = cache
        self._idle_timeout = milliseconds(settings.idle_timeout)
        self._urgent_after = settings.idle_timeout - _URGENT
        self._idle, self._slide_after = idle_allowance(settings), slide_after(settings)
        self.under_way: set[str] = set()
        """The keys of the sessions whose notes are under way."""
        self._joined: dict[str, list[Noted]] = {}  # who else waits for one of them

    def begin(
        self, session: CachedSession | Session, handle: str, then: Noted, *, at_once: bool = False
    ) -> None:
        """Begins a note of a session in use, of which none is under way.

        With `at_once` somebody waits for it: it does not wait for others.
        """
        now, cache, key, ends = self._clock(), self._cache, session.key, session.ends
        cached, emptied = None, 0
        if cache is not None and (entry := cache.peek(value := handle.encode("ascii"))) is not None:
            emptied = cache.emptied
            if isinstance(session, CachedSession) and session.entry is entry:
                cached = session
            else:
                cached = CachedSession(value, entry)
        second = math.floor(now)
        seen = format_seen(now, handle, self._keyring).encode()
        use = Use(key, session.sub, seen, round(now * 1000), self._idle_timeout)
        self.under_way.add(key)
        note = _Note(use, float(second), ends, then, cached, emptied)
        at_once = at_once or now > session.seen + self._urgent_after
        self._store.uses.write(use, partial(self._written, note), at_once=at_once)

    def join(self, key: str, then: Noted) -> None:
        """Adds a listener to the note under way of this session, and sends that note at once."""
        self._joined.setdefault(key, []).append(then)
        self._store.uses.send()

    def _written(self, note: _Note, outcome: bool | StoreUnavailableError) -> None:
        if self._cache is not None:
            self._cache.forget(note.use.key)
        if outcome is True and note.cached is not None:
            self._read(note)
        else:
            self._over(note, outcome if isinstance(outcome, StoreUnavailableError) else None)

    def _read(self, note: _Note) -> None:
        """Reads a session again whose use was noted, if it may be put back."""
        cache, key = self._cache, note.use.key
        assert cache is not None
        reading = cache.reading(key)
        if reading.spoiled or cache.emptied != note.emptied:
            reading.end()
            self._over(note)
            return
        note.tries -= 1
        self._store.ask(key, partial(self._answered, note, reading), timed=True)

    def _answered(self, note: _Note, reading: Reading, loaded: LoadedValues | Exception) -> None:
        again = False
        try:
            if isinstance(loaded, LoadedValues) and _is_unchanged(note, loaded):
                if reading.spoiled:
                    again = note.tries > 0
                else:
                    self._put_back(note, reading, loaded.lifetime)
        finally:
            reading.end()
            if not again:
                self._over(note)
        if again:
            self._read(note)

    def _put_back(self, note: _Note, reading: Reading, lifetime: float | None) -> None:
        cached, seen = note.cached, note.seen
        assert cached is not None
        entry = cached.used(seen, seen + self._slide_after)
        left = min(note.ends, seen + self._idle) - self._clock()
        reading.keep(cached.value, entry, left if lifetime is None else min(left, lifetime))

    def _over(self, note: _Note, failure: StoreUnavailableError | None = None) -> None:
        key = note.use.key
        self.under_way.discard(key)
        for then in (*self._joined.pop(key, ()), note.then):
            then(key, failure)


def _is_unchanged(note: _Note, loaded: LoadedValues) -> bool:
    """Returns True if nothing but the note was written since the session was kept."""
    values, cached = loaded.values, note.cached
    return (
        loaded.note is None
        and values[_SEEN] == note.use.seen
        and cached is not None
        and fingerprint(values) == cached.fingerprint
    )
