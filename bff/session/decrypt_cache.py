"""Handles and records that were opened before: each signature and each unchanged record costs its work once.

Rule 1: nothing here says that a session lives, or what it holds now: that is Redis' word, each time. The same
handle and the same record, field by field, are the same session; that alone is answered from here.
Rule 2: bounded, what came first goes first; and what is found gone in Redis goes here too.
Rule 3: beside a near cache nothing is remembered here: it would be the same once more.
"""

from typing import Final, TypeVar

from bff.crypto import Keyring
from bff.session.model import Session
from bff.session.record import Record, decode_record

MOST: Final = 1000
"""Sessions that are remembered where there is no near cache."""

K = TypeVar("K")
V = TypeVar("V")


class DecryptCache:
    """Opens handles and records with the server's keys, and remembers the last `most` of each."""

    def __init__(self, keyring: Keyring, most: int) -> None:
        self._keyring = keyring
        self._most = most
        self._handles: dict[bytes, str] = {}  # by the cookie's value
        self._sessions: dict[str, tuple[str, Record, Session]] = {}  # by key

    def handle(self, value: bytes) -> str | None:
        """The handle if the cookie's value is one that this server made, else None."""
        handle = self._handles.get(value)
        if handle is None:
            handle = self._keyring.accepts(value)
            if handle is not None:
                self._put(self._handles, value, handle)
        return handle

    def session(self, key: str, record: Record, handle: str) -> Session | None:
        """The session in a record; None if we did not write it for this handle, or it was changed since."""
        known = self._sessions.get(key)
        if known is not None and known[0] == handle and known[1] == record:
            return known[2]
        session = decode_record(key, record, handle, self._keyring)
        if session is not None:
            self._put(self._sessions, key, (handle, record, session))
        return session

    def forget(self, key: str) -> None:
        """There is no such session."""
        self._sessions.pop(key, None)

    def _put(self, entries: dict[K, V], key: K, value: V) -> None:
        if not self._most:
            return
        if len(entries) >= self._most:
            del entries[next(iter(entries))]
        entries[key] = value

    def clear(self) -> None:
        """A server key has gone, and with it what it vouched for."""
        self._handles.clear()
        self._sessions.clear()
