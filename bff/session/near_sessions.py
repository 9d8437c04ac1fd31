"""The look-up of a call's session in the near cache: all that most calls ask of a frontend's sessions."""

from functools import lru_cache
from typing import Protocol

from bff.policy.cookie_parser import only_value
from bff.session.cached_session import CachedSession
from bff.session.near_cache import NearCache


class Nearby(Protocol):
    """Finds the session of a call, if that takes no wait."""

    def near(self, cookie_header: bytes) -> CachedSession | None:
        """The session of the only `Cookie` header, from the near cache; None to ask Redis.

        It may be over: see its `quiet_until`.
        """


class NearSessions:
    """The sessions of one frontend in the near cache.

    One small object beside its `Sessions`: calls of a hundred frontends come in turn, and each further object
    is one more place in memory that the others have pushed out of the processor's caches.
    """

    __slots__ = ("_cache", "_cookie_name")

    def __init__(self, cache: NearCache | None, cookie_name: str) -> None:
        self._cache = cache
        self._cookie_name = _in_bytes(cookie_name)

    def near(self, cookie_header: bytes) -> CachedSession | None:
        """The session of the only `Cookie` header; None where it is not here, or not to be trusted."""
        value = only_value(cookie_header, self._cookie_name)
        if self._cache is None or value is None:
            return None
        entry = self._cache.get(value)
        return None if entry is None else CachedSession(value, entry)


class _OfOneOfSeveral(NearSessions):
    """Those of one of several frontends: it asks the cache of all, and not its own view of that."""

    __slots__ = ("_prefix",)

    def __init__(self, view: NearCache, cookie_name: str) -> None:
        super().__init__(view.whole, cookie_name)
        self._prefix = view.prefix

    def near(self, cookie_header: bytes) -> CachedSession | None:
        """The session of the only `Cookie` header, if it is this frontend's."""
        value = only_value(cookie_header, self._cookie_name)
        if self._cache is None or value is None:
            return None
        entry = self._cache.get(self._prefix + value)
        return None if entry is None else CachedSession(value, entry)


def near_sessions(cache: NearCache | None, cookie_name: str) -> NearSessions:
    """Returns those that a frontend's near cache has, which may be one of several views."""
    if cache is None or cache.whole is cache:
        return NearSessions(cache, cookie_name)
    return _OfOneOfSeveral(cache, cookie_name)


@lru_cache(maxsize=256)
def _in_bytes(name: str) -> bytes:
    """One object of each name, for all frontends that have it."""
    return name.encode("ascii")
