"""Values that are good once, and values that replace each other: `<prefix>:jti:<kind>:<value>`.

A sign-in's `state`, the `jti` of a logout token, the challenge of a device: who comes second is refused.
Under the same names stand a browser's present session and codes that are too long for a cookie.
"""

from typing import cast

from redis.asyncio import Redis

from bff.session.lifetime import milliseconds
from bff.session.redis_errors import Translated


class OneTimeValues:
    """The one-time values in Redis. Every method raises `StoreUnavailableError` when Redis fails."""

    def __init__(self, redis: Redis, prefix: str, translated: Translated) -> None:
        self._redis = redis
        self._prefix = prefix
        self._translated = translated

    async def claim(self, kind: str, value: str, *, lifetime: float) -> bool:
        """Takes a one-time value: True for the first caller only, for `lifetime` seconds (`SET NX`)."""
        name = f"{self._prefix}:jti:{kind}:{value}"
        async with self._translated():
            return bool(await self._redis.set(name, "1", nx=True, px=milliseconds(lifetime)))

    async def is_claimed(self, kind: str, value: str) -> bool:
        """True if the value was taken, and is kept still."""
        async with self._translated():
            return bool(await self._redis.exists(f"{self._prefix}:jti:{kind}:{value}"))

    async def swap(self, kind: str, name: str, value: str, *, lifetime: float) -> str | None:
        """Sets a value under a name, for `lifetime` seconds, and returns the one it replaces."""
        key = f"{self._prefix}:jti:{kind}:{name}"
        async with self._translated():
            former = await self._redis.set(key, value, px=milliseconds(lifetime), get=True)
            return cast("str | None", former)
