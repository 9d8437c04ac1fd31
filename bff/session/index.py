"""Which sessions a person, or a sign-in at the provider, has; and the notes of those that were ended as such.

The store writes the indexes, with each session; here they are read. An index may name sessions that are no
more.

    <prefix>:user:<provider>:<sub>           sorted set of session keys, score = `ends`
    <prefix>:sid:<provider>:<sid>            set of session keys
    <prefix>:ended:<provider>:<sub or sid>   when all of these were ended, kept for five minutes;
                                             <sub>%0A stands for those of a person's without a `sid`

Rule 1: the note is written before the index is read, and a sign-in reads it after it has written its session:
one of the two sees the other (T-15).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import cast
from urllib.parse import quote

from redis.asyncio import Redis

from bff.session.record import format_time

NOTE_SECONDS = 300
"""Longer than any sign-in takes from its provider's answer to its session."""

Translated = Callable[[], AbstractAsyncContextManager[None]]


def user_key(prefix: str, provider: str, sub: str) -> str:
    """The name of a user's index."""
    return f"{prefix}:user:{provider}:{quote(sub, safe='')}"


def sid_key(prefix: str, provider: str, sid: str) -> str:
    """The name of a sign-in's index."""
    return f"{prefix}:sid:{provider}:{quote(sid, safe='')}"


class SessionIndex:
    """Reads the indexes and keeps the notes. `translated` turns what redis-py raises into our own error."""

    def __init__(self, redis: Redis, prefix: str, translated: Translated) -> None:
        self._redis = redis
        self._prefix = prefix
        self._translated = translated

    async def of_user(self, provider: str, sub: str) -> list[str]:
        """The keys of a user's sessions."""
        async with self._translated():
            return cast("list[str]", await self._redis.zrange(user_key(self._prefix, provider, sub), 0, -1))

    async def of_sid(self, provider: str, sid: str) -> list[str]:
        """The keys of the sessions that began with one sign-in at the provider."""
        async with self._translated():
            members = await self._redis.smembers(sid_key(self._prefix, provider, sid))
        return cast("list[str]", list(members))

    async def leave_sid(self, provider: str, sid: str, key: str) -> None:
        """Takes a session out of a sign-in's index: the provider names it otherwise now."""
        async with self._translated():
            await self._redis.srem(sid_key(self._prefix, provider, sid), key)

    async def note_end(self, provider: str, name: str, now: float) -> None:
        """Notes that everything of a `sub` or `sid` that began before `now` is over."""
        async with self._translated():
            await self._redis.set(self._note(provider, name), format_time(now), ex=NOTE_SECONDS)

    async def ended_since(self, provider: str, names: Iterable[str], began: float) -> bool:
        """Whether a sign-in of this `sub` and `sid` that began at `began` was ended meanwhile."""
        async with self._translated():
            notes = cast(
                "list[str | None]", await self._redis.mget([self._note(provider, name) for name in names])
            )
        return any(_is_after(note, began) for note in notes)

    def _note(self, provider: str, name: str) -> str:
        return f"{self._prefix}:ended:{provider}:{quote(name, safe='')}"


def _is_after(note: str | None, began: float) -> bool:
    try:
        return note is not None and float(note) >= began
    except ValueError:
        return True  # whoever wrote something else there meant an end
