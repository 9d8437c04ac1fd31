"""All sessions there are, read in parts: for an operator, with flat memory, beside live traffic.

Rule 1: nothing sealed is read: the fields are asked for by name, and no token is in one of them.
Rule 2: SCAN, and never KEYS; no command here keeps Redis from others for longer than a millisecond or so.
Rule 3: a session that stands during a whole scan is told of once at least, and maybe twice (SCAN's promise).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bff.session.cluster.client import masters_of
from bff.session.operator_view import Entry, fields_of, read_entry
from bff.session.redis_errors import Translated

_LOOKED_AT = 500
"""Names that one SCAN looks at: a quarter of them are sessions, which are read in one round trip."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some sessions of a scan.

    Attributes:
        keys: theirs, sorted.
        began: the cursor that they were found from.
        cursor: where the scan goes on; 0 at its end.
        done: how much of everything has been looked at, from 0 to 1, as far as can be told.
    """

    keys: Sequence[str]
    began: int
    cursor: int
    done: float


class Inventory:
    """Reads them. `translated` turns redis-py's errors into our own."""

    def __init__(self, redis: Redis, prefix: str, translated: Translated) -> None:
        self._redis = redis
        self._names = f"{prefix}:session:"
        self._translated = translated

    async def scan(self, beginning: str = "", *, cursor: int = 0) -> AsyncIterator[Part]:
        """The keys of all sessions, or of those whose key has this beginning (of hex digits).

        A cluster's masters are scanned one after the other; a cursor holds which one, and its own.
        """
        async with self._translated():
            servers = await masters_of(self._redis)
        inner, place = divmod(cursor, len(servers))
        for number in range(place, len(servers)):
            async for part in self._scan(servers[number], beginning, inner):
                over = not part.cursor
                yield Part(
                    part.keys,
                    began=part.began * len(servers) + number,
                    cursor=(number + 1) % len(servers) if over else part.cursor * len(servers) + number,
                    done=(number + part.done) / len(servers),
                )
            inner = 0

    async def _scan(self, server: Redis, beginning: str, cursor: int) -> AsyncIterator[Part]:
        async with self._translated():
            names: int = await server.dbsize()
        while True:
            began = cursor
            async with self._translated():
                cursor, found = await server.scan(
                    cursor, match=f"{self._names}{beginning}*", count=_LOOKED_AT
                )
            keys = sorted({str(name).removeprefix(self._names) for name in found})
            yield Part(keys, began, cursor, share_done(cursor, names))
            if not cursor:
                return

    async def read(self, keys: Sequence[str], claims: Sequence[str] = ()) -> list[Entry]:
        """Returns those of these sessions that exist, with these claims where they stand readable."""
        if not keys:
            return []
        fields = [name.encode() for name in fields_of(claims)]  # encoded once, and not for each session
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.hmget(self._names + key, fields)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        entries = []
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, Exception):
                await self._raise_unless_odd(answer)
            elif (entry := read_entry(key, answer, claims)) is not None:
                entries.append(entry)
        return entries

    async def left(self, key: str) -> float | None:
        """Seconds until the session ends if it is not used; None if it is gone."""
        async with self._translated():
            milliseconds: int = await self._redis.pttl(self._names + key)
        return None if milliseconds < 0 else milliseconds / 1000

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        """Bytes that these sessions' hashes take; empty where this account may not ask."""
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.memory_usage(self._names + key, samples=0)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        return [answer for answer in answers if isinstance(answer, int)]

    async def used_memory(self) -> int | None:
        """Bytes that Redis holds, all in all; None where this account may not ask."""
        used: list[Any] = []
        async with self._translated():
            for server in await masters_of(self._redis):
                try:
                    used.append((await server.info("memory")).get("used_memory"))
                except ResponseError:
                    return None
        return sum(used) if all(isinstance(each, int) for each in used) else None

    async def _raise_unless_odd(self, answer: Exception) -> None:
        """Passes over values that are no session's hash: another type was put under the name."""
        if not str(answer).startswith("WRONGTYPE"):
            async with self._translated():
                raise answer


def share_done(cursor: int, names: int) -> float:
    """Returns the share of a scan over about so many names that lies behind this cursor.

    SCAN counts through the table's places with the bits of their numbers reversed, the highest first.
    """
    if not cursor:
        return 1.0
    bits = max(names.bit_length(), cursor.bit_length())
    return int(f"{cursor:0{bits}b}"[::-1], 2) / (1 << bits)
