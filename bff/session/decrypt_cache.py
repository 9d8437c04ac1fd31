"""Handles and records that were opened before: each signature and each unchanged record costs its work once.

Rule 1: nothing here says that a session lives, or what it holds now: Redis is asked each time. The same
handle and the same record are the same session; that alone is answered from here.
Rule 2: bounded by memory, the oldest entry goes first; a session that is gone in Redis goes here too.
Rule 3: beside a near cache nothing is remembered here: it would be the same once more.
Rule 4: what is remembered of a record is what a near cache would keep, one piece of bytes, and as little of a
secret. Python's own objects would take three times the memory, and so forget twenty thousand users in turn.
"""

from typing import Final

from bff.crypto import Keyring
from bff.session.cached_session import CachedSession
from bff.session.model import Opened, Session
from bff.session.record import (
    FIELDS,
    Record,
    Values,
    decode_values,
    fingerprint,
    open_values,
    values_of,
)

_OVERHEAD: Final = 450
"""Bytes that a record takes beside its entry and the cookie's value: the key, headers, `seen`, its place."""

_HANDLE: Final = 500
"""Bytes that a handle takes, both spellings and its place."""

_HANDLES_SHARE: Final = 16
"""The part of the memory that handles may take, as a divisor."""

_SEEN: Final = FIELDS.index("seen")

_Opened = tuple[bytes, bytes, bytes | None]
"""The cookie's value, the entry of a `CachedSession`, the field `seen`, which its fingerprint leaves out."""


class DecryptCache:
    """Opens handles and records with the server's keys, and remembers the last ones, in `memory` bytes."""

    def __init__(self, keyring: Keyring, memory: int) -> None:
        self._keyring = keyring
        self._most_handles = memory // _HANDLES_SHARE // _HANDLE
        self._memory = memory - self._most_handles * _HANDLE
        self._taken = 0
        self._handles: dict[bytes, str] = {}  # by the cookie's value
        self._opened: dict[str, _Opened] = {}  # by key

    def handle(self, value: bytes) -> str | None:
        """The handle if the cookie's value is one that this server made, else None."""
        handle = self._handles.get(value)
        if handle is None:
            handle = self._keyring.accepts(value)
            if handle is not None and self._most_handles:
                if len(self._handles) >= self._most_handles:
                    del self._handles[next(iter(self._handles))]
                self._handles[value] = handle
        return handle

    def session(self, key: str, record: Record, handle: str) -> Session | None:
        """The session in a record; None if we did not write it for this handle, or it was changed since."""
        return decode_values(key, values_of(record), handle, self._keyring)

    def open(self, key: str, values: Values, handle: str) -> Opened | None:
        """Opens the record that has these values; None as `session`."""
        return open_values(key, values, handle, self._keyring)

    def opened(self, key: str, values: Values, handle: str) -> CachedSession | None:
        """The session in the record that has these values, if it was opened and kept before; else None."""
        known = self._opened.get(key)
        if known is None:
            return None
        value, entry, seen = known
        if seen != values[_SEEN] or value != handle.encode("ascii"):
            return None
        cached = CachedSession(value, entry)
        return cached if cached.fingerprint == fingerprint(values) else None

    def keep(self, cached: CachedSession, values: Values) -> None:
        """Remembers a session that was just opened, for as long as its record has these values."""
        if not self._memory:
            return
        self.forget(cached.key)
        known = self._opened[cached.key] = cached.value, cached.entry, values[_SEEN]
        self._taken += _cost(known)
        while self._taken > self._memory:
            self.forget(next(iter(self._opened)))

    def forget(self, key: str) -> None:
        """Forgets a session that is gone."""
        known = self._opened.pop(key, None)
        if known is not None:
            self._taken -= _cost(known)

    def clear(self) -> None:
        """Forgets all: a server key has gone, and its signatures and seals with it."""
        self._handles.clear()
        self._opened.clear()
        self._taken = 0


def _cost(known: _Opened) -> int:
    value, entry, _ = known
    return _OVERHEAD + len(value) + len(entry)
