"""Locks in Redis, each with an owner and an end: `<prefix>:lock:<key>`. `rotation_lock.py` uses them."""

from collections.abc import Sequence
from functools import partial

from redis.asyncio import Redis

from bff.session import lua_scripts
from bff.session.keyed_script import KeyedScript
from bff.session.lifetime import milliseconds
from bff.session.redis_errors import Translated


class RedisLocks:
    """The locks of sessions. Every method raises `StoreUnavailableError` when Redis fails."""

    def __init__(self, redis: Redis, prefix: str, translated: Translated) -> None:
        self._redis = redis
        self._prefix = prefix
        self._translated = translated
        register = partial(KeyedScript, redis)
        self._prolong, self._release, self._inherit = map(register, lua_scripts.OF_LOCKS)

    async def take(self, key: str, owner: str, *, lifetime: float, formerly: Sequence[str] = ()) -> bool:
        """Takes the lock of a session, if nobody has it, or one of those who are the owner's own past."""
        name, px = self._lock(key), milliseconds(lifetime)
        async with self._translated():
            if await self._redis.set(name, owner, nx=True, px=px):
                return True
            return bool(formerly and await self._inherit(keys=[name], args=[owner, px, *formerly]))

    async def prolong(self, key: str, owner: str, *, lifetime: float) -> bool:
        """Prolongs it; False if it is no longer the owner's."""
        async with self._translated():
            return bool(await self._prolong(keys=[self._lock(key)], args=[owner, milliseconds(lifetime)]))

    async def release(self, key: str, owner: str) -> None:
        """Frees it, if it is the owner's."""
        async with self._translated():
            await self._release(keys=[self._lock(key)], args=[owner])

    def _lock(self, key: str) -> str:
        return f"{self._prefix}:lock:{key}"
