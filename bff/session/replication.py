"""Endings that reach the replicas: after a DEL of ours Redis is asked to WAIT until they have it.

Replication is asynchronous: a master that dies right after a sign-out may take it along, and its successor
has the session still. WAIT makes that unlikely, and says when it could not: it undoes nothing.

Rule 1: an ending stands whatever comes of the waiting; the audit log names those that may come back.
Rule 2: where there are no replicas nothing is waited for, and nothing is asked more often than every
`_REMEMBERED` seconds.
"""

from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError

from bff.session.cluster.client import ClusterClient, ClusterPipeline
from bff.session.invalidation_feed import steady_now
from bff.settings.model import RedisSettings

_REMEMBERED = 10.0


class Replication:
    """Runs pipelines of deletions, and waits for the replicas. `clock` gives steady seconds."""

    def __init__(
        self, redis: Redis, settings: RedisSettings, clock: Callable[[], float] = steady_now
    ) -> None:
        self._redis = redis
        self._wanted = settings.wait_for_replicas
        self._milliseconds = max(1, round(settings.wait_timeout * 1000))
        self._clock = clock
        self._known = 0
        self._ask_at = -1.0

    async def run(self, pipe: Pipeline) -> tuple[list[Any], bool]:
        """Executes the pipeline; returns its answers, and false if too few replicas have it in time.

        Raises:
            redis.exceptions.RedisError, OSError: as the pipeline.
        """
        wanted = await self._replicas()
        commands = list(pipe.command_stack)
        wait = ("WAIT", wanted, self._milliseconds)
        if not wanted:
            answers, reached = await pipe.execute(raise_on_error=False), []
        elif isinstance(pipe, ClusterPipeline):
            pipe.last = wait
            answers, reached = await pipe.execute(raise_on_error=False), pipe.lasts
        else:
            pipe.execute_command(*wait)
            *answers, last = await pipe.execute(raise_on_error=False)
            reached = [last]
        pipe.raise_first_error(commands, answers)
        if self._wanted == "auto" and any(isinstance(said, ResponseError) for said in reached):
            return answers, True  # there is no WAIT here: `bff check` says so
        return answers, all(isinstance(count, int) and count >= wanted for count in reached)

    async def _replicas(self) -> int:
        """The replicas to wait for: as many as the setting says, or one where there is any."""
        if self._wanted != "auto":
            return self._wanted
        now = self._clock()
        if now >= self._ask_at:
            self._known, self._ask_at = await self._found(), now + _REMEMBERED
        return min(1, self._known)

    async def _found(self) -> int:
        if isinstance(self._redis, ClusterClient):
            return len((await self._redis.topology.known()).replicas)
        try:
            role: Any = await self._redis.role()
            return len(role[2]) if role[0] == "master" else 0  # "master", an offset, the replicas
        except ResponseError:
            pass
        try:
            return int((await self._redis.info("replication")).get("connected_slaves", 0))
        except ResponseError:
            return 0  # the account may ask neither: `bff check` says so
