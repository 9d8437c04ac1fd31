"""Tokens that no session has, in Redis: sealed values under names of their own, each with an end."""

from typing import cast

from redis.asyncio import Redis

from bff.session.lifetime import milliseconds
from bff.session.redis_errors import Translated


class SealedTokens:
    """Reads and writes them, as they are. `translated` turns redis-py's errors into our own."""

    def __init__(self, redis: Redis, beginning: str, translated: Translated) -> None:
        self._redis = redis
        self._beginning = beginning
        self._translated = translated

    async def get(self, name: str) -> str | None:
        """Returns the value of a name."""
        async with self._translated():
            return cast("str | None", await self._redis.get(self._beginning + name))

    async def set(self, name: str, sealed: str, *, lifetime: float) -> None:
        """Keeps a value for `lifetime` seconds."""
        async with self._translated():
            await self._redis.set(self._beginning + name, sealed, px=milliseconds(lifetime))
