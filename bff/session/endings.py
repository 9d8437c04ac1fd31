"""Notes that outlive a session: why it was ended, and how long it would have lived.

    <prefix>:ended:<key>                 why a session was ended, kept for an hour or the idle timeout
    <prefix>:until:<16 of the key>       what its time runs out by: as long as the session, and an hour more

Rule 1: the reason of an end is there before the session goes. A record that stands beside the note of its end
is no session: somebody put it back (`note_of`).
Rule 2: an end that is bound to a version says which, and is about no later one.
Rule 3: nothing hangs on `until` but what a page is told. By Redis' own clock: while the mark has more than
its hour left, a session that is gone was deleted before its time.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bff.session.model import EndReason

ENDED_SECONDS: Final = 3600.0
_UNTIL_LENGTH = 16  # characters of the key: a million sessions need 8 MB less than with all of it
_LATE = 2000  # milliseconds by which the mark may have been written after the record
_BY = {EndReason.IDLE: "1", EndReason.MAX_LIFETIME: "2"}  # Redis shares small numbers
_WHY = {value: reason for reason, value in _BY.items()}

Translated = Callable[[], AbstractAsyncContextManager[None]]


def note_of(note: str | None, version: int) -> EndReason | None:
    """Why a session of this version was ended, as its note says; None where there is none about it."""
    if note is None:
        return None
    reason, _, last = note.partition(" ")
    if last.isdecimal() and version > int(last):
        return None
    return EndReason(reason) if reason in set(EndReason) else EndReason.UNKNOWN


class Endings:
    """Writes and reads the notes. `translated` turns what redis-py raises into our own error."""

    def __init__(self, redis: Redis, prefix: str, translated: Translated) -> None:
        self._redis = redis
        self._prefix = prefix
        self._translated = translated

    def name(self, key: str) -> str:
        """The name of a session's note."""
        return f"{self._prefix}:ended:{key}"

    async def note(self, key: str, reason: EndReason, *, version: int | None, kept: float) -> bool:
        """Notes why a session ends, at `version` at the latest where given; an earlier note stays.

        It is needed for `kept` seconds: a record that is put back later has no idle time left.
        """
        value = reason.value if version is None else f"{reason} {version}"
        seconds = round(max(ENDED_SECONDS, kept))
        async with self._translated():
            if await self._redis.set(self.name(key), value, ex=seconds, nx=True):
                return True
            if version is None:  # one about a former version must not stand in the way
                former = _text(await self._redis.get(self.name(key)))
                if former is None or " " in former:
                    await self._redis.set(self.name(key), value, ex=seconds)
            return False

    async def forget(self, key: str) -> None:
        """Takes a note back: the session lives."""
        async with self._translated():
            await self._redis.delete(self.name(key))

    async def lives_until(self, key: str, milliseconds: int, by: EndReason) -> None:
        """Notes how long a session has, and what ends it then. A failure costs it nothing but the reason."""
        try:
            await self._redis.set(
                self._until(key),
                _BY[by],
                px=milliseconds + int(ENDED_SECONDS * 1000),
            )
        except (RedisError, OSError):
            return

    async def why(self, key: str) -> EndReason | None:
        """Why a session is gone; None if it was deleted by somebody else, or more than an hour ago."""
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            pipe.get(self.name(key))
            pipe.get(self._until(key))
            pipe.pttl(self._until(key))
            note, by, left = await pipe.execute(raise_on_error=False)
            ended = note_of(_text(note), 0)
            if ended is not None:
                return ended
            over = isinstance(left, int) and 0 < left <= ENDED_SECONDS * 1000 + _LATE
            return _WHY.get(_text(by) or "") if over else None

    def _until(self, key: str) -> str:
        return f"{self._prefix}:until:{key[:_UNTIL_LENGTH]}"


def _text(answer: Any) -> str | None:
    """What a GET brought; None also where somebody put something else there."""
    if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer if isinstance(answer, str) else None
