"""Handles and records that were opened before: each signature and each unchanged record costs its work once.

Rule 1: nothing here says that a session lives, or what it holds now: Redis is asked each time. The same
handle and the same record, field by field, are the same session; that alone is answered from here.
Rule 2: bounded by memory, the oldest entry goes first; a session that is gone in Redis goes here too.
Rule 3: beside a near cache nothing is remembered here: it would be the same once more.
"""

from typing import Final

from bff.crypto import Keyring
from bff.session.model import Session
from bff.session.record import Record, Values, decode_values, values_of

_OVERHEAD: Final = 5000
"""Bytes that a session and its record take beside their texts: objects, two dictionaries, headers."""

_HANDLE: Final = 500
"""Bytes that a handle takes, both spellings and its place."""

_HANDLES_SHARE: Final = 16
"""The part of the memory that handles may take, as a divisor."""


class DecryptCache:
    """Opens handles and records with the server's keys, and remembers the last ones, in `memory` bytes."""

    def __init__(self, keyring: Keyring, memory: int) -> None:
        self._keyring = keyring
        self._most_handles = memory // _HANDLES_SHARE // _HANDLE
        self._memory = memory - self._most_handles * _HANDLE
        self._taken = 0
        self._handles: dict[bytes, str] = {}  # by the cookie's value
        self._sessions: dict[str, tuple[str, Values, Session]] = {}  # by key

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
        return self.session_of(key, values_of(record), handle)

    def session_of(self, key: str, values: Values, handle: str) -> Session | None:
        """The session in the record that has these values; None as `session`."""
        known = self._sessions.get(key)
        if known is not None and known[0] == handle and known[1] == values:
            return known[2]
        session = decode_values(key, values, handle, self._keyring)
        if session is not None and self._memory:
            self.forget(key)
            self._taken += _cost(values)
            self._sessions[key] = (handle, values, session)
            while self._taken > self._memory:
                self.forget(next(iter(self._sessions)))
        return session

    def forget(self, key: str) -> None:
        """Forgets a session that is gone."""
        known = self._sessions.pop(key, None)
        if known is not None:
            self._taken -= _cost(known[1])

    def clear(self) -> None:
        """Forgets all: a server key has gone, and its signatures and seals with it."""
        self._handles.clear()
        self._sessions.clear()
        self._taken = 0


def _cost(values: Values) -> int:
    """The bytes of a record and of the session in it, whose texts are no longer than the record's."""
    return _OVERHEAD + 2 * sum(len(value) for value in values if value is not None)
