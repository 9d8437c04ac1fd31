"""A script of Redis on one key, for a single server and for a cluster alike."""

from typing import Any, cast

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError


class KeyedScript(AsyncScript):
    """A script that is named by its hash; a server that does not know it yet is sent all of it.

    redis-py would load it first, by a command that has no key, and that an account may lack.
    """

    def __init__(self, redis: Redis, script: str) -> None:
        super().__init__(redis, script)

    async def __call__(self, keys: Any = None, args: Any = None, client: Any = None) -> Any:
        """Runs it; raises what redis-py raises."""
        runs = client or self.registered_client
        words = (len(keys), *keys, *(args or ()))
        try:
            return await runs.evalsha(self.sha, *words)
        except NoScriptError:
            return await runs.eval(cast("str", self.script), *words)
