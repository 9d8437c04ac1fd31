"""Commands to a cluster: each goes to the master of its key, and a pipeline to several at once.

redis-py has a client for clusters. It sends a command again after a connection broke, closes all connections
and sleeps where the cluster is down, and sends ASKING and the command it is for on two connections of a pool.
Here nothing is sent twice but what was sent elsewhere, which was not run (`topology.py`, Rule 2).

Rule 1: a command has one key. One without is asked of each server by itself (`masters_of`).
Rule 2: a pipeline is no transaction: of a part that failed nothing is known, the others may have been run.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError

from bff.session.cluster.slots import Address
from bff.session.cluster.topology import MAX_REDIRECTS, Topology, is_redirect
from bff.session.redis_connection import FreshPool, new_pool
from bff.settings.model import RedisSettings
from bff.tasks import Tasks

_Command = tuple[tuple[Any, ...], dict[str, Any]]

_KEY_AT = {"EVALSHA": 3, "EVAL": 3}  # of all other commands here it is the second word
_KEPT = 2.0  # a server's connections after it has left the map, as a multiple of `redis.timeout`


async def masters_of(redis: Redis) -> Sequence[Redis]:
    """Returns a client for each server that holds keys: the one that there is, or a cluster's masters."""
    if not isinstance(redis, ClusterClient):
        return [redis]
    found = await redis.topology.known()
    return [redis.server(address) for address in sorted(found.masters)]


class ClusterClient(Redis):
    """A client whose commands go to the master of their key."""

    def __init__(self, settings: RedisSettings, topology: Topology) -> None:
        super().__init__(connection_pool=new_pool(settings))  # it lends none: it says how words are encoded
        self.topology = topology
        self._settings = settings
        self._servers: dict[Address, Redis] = {}
        self._leaving = Tasks()

    def server(self, address: Address) -> Redis:
        """The client of one server."""
        if (client := self._servers.get(address)) is None:
            client = self._servers[address] = Redis.from_pool(new_pool(self._settings, address))
            self._leave_the_gone(address)
        return client

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Runs one command; raises what redis-py raises."""
        (answer,) = await self.run([(args, options)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "ClusterPipeline":
        """Collects commands, to be sent to their servers at once."""
        assert not transaction
        return ClusterPipeline(self, shard_hint)

    def renew(self) -> None:
        """Every connection is made anew before its next use, and the map of the slots with them."""
        for client in self._servers.values():
            assert isinstance(client.connection_pool, FreshPool)
            client.connection_pool.renew()
        self.topology.doubt()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Closes the connections."""
        await self._leaving.cancel_all()
        for client in self._servers.values():
            await client.aclose()
        await self.topology.aclose()
        await super().aclose(close_connection_pool)

    async def run(
        self, commands: Sequence[_Command], last: tuple[Any, ...] = (), lasts: list[Any] | None = None
    ) -> list[Any]:
        """Returns the answers, an exception for each command that was refused.

        Args:
            commands: with one key each.
            last: a command for each server that has run some of them, behind these on the same connection.
            lasts: takes the answers to it.

        Raises:
            redis.exceptions.RedisError, OSError: of at least one command nothing is known.
        """
        answers: list[Any] = [None] * len(commands)
        left = [(await self._owner(command), False, at) for at, command in enumerate(commands)]
        for _ in range(MAX_REDIRECTS):
            parts: dict[tuple[Address, bool], list[int]] = {}
            for address, asks, at in left:
                parts.setdefault((address, asks), []).append(at)
            told = await asyncio.gather(
                *(self._part(*target, [commands[at] for at in parts[target]], last) for target in parts),
                return_exceptions=True,
            )
            left = []
            for ((asked, _), places), said in zip(parts.items(), told, strict=True):
                if isinstance(said, BaseException):
                    self.topology.elsewhere(said, asked)
                    raise said
                if lasts is not None:
                    lasts += said[len(places) :]
                for at, answer in zip(places, said, strict=False):
                    answers[at] = answer
                    if isinstance(answer, Exception) and (other := self.topology.elsewhere(answer, asked)):
                        left.append((*other, at))
            if not left:
                return answers
        raise RedisConnectionError("the cluster's servers send a command from one to another")

    async def _owner(self, command: _Command) -> Address:
        words = command[0]
        name = words[_KEY_AT.get(words[0], 1)]
        return await self.topology.owner(name if isinstance(name, bytes) else str(name).encode())

    async def _part(
        self, address: Address, asks: bool, commands: Sequence[_Command], last: tuple[Any, ...]
    ) -> list[Any]:
        client = self.server(address)
        pipe = _FollowedPipeline(client, last) if last else client.pipeline(transaction=False)
        for words, options in commands:
            if asks:
                pipe.execute_command("ASKING")
            pipe.execute_command(*words, **options)
        said: list[Any] = await pipe.execute(raise_on_error=False)
        if asks:  # behind every ASKING is the answer
            said = [*said[1 : 2 * len(commands) : 2], *said[2 * len(commands) :]]
        return said

    def _leave_the_gone(self, new: Address) -> None:
        """Closes the connections to servers that are there no more, after what runs on them has ended."""
        known = self.topology.masters | {new}
        for address in self._servers.keys() - known:
            self._leaving.spawn(self._leave(self._servers.pop(address)), name="a server that has left")

    async def _leave(self, client: Redis) -> None:
        try:
            await asyncio.sleep(_KEPT * self._settings.timeout)
        finally:
            await client.aclose()


class _FollowedPipeline(Pipeline):
    """Commands to one server, and a `last` one on their connection if the server has run any of them.

    WAIT speaks of what its own connection wrote. A server that has passed a slot on wrote nothing, may have
    no replica left, and would be waited for in vain; so `last` is sent when the answers are here.
    """

    def __init__(self, client: Redis, last: tuple[Any, ...]) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, False, None)
        self._last = last

    async def _execute_pipeline(self, connection: Any, commands: Any, raise_on_error: bool) -> list[Any]:
        said: list[Any] = await super()._execute_pipeline(connection, commands, raise_on_error)
        ran = (words for (words, _), answer in zip(commands, said, strict=True) if not is_redirect(answer))
        if any(words != ("ASKING",) for words in ran):
            said += await super()._execute_pipeline(connection, [(self._last, {})], raise_on_error)
        return said


class ClusterPipeline(Pipeline):
    """Commands that are sent together, each to the master of its key.

    Attributes:
        last: a command for each server that has run some of them, behind these.
        lasts: the answers to it.
    """

    def __init__(self, client: ClusterClient, shard_hint: str | None) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, False, shard_hint)
        self._client = client
        self.last: tuple[Any, ...] = ()
        self.lasts: list[Any] = []

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Sends them; raises the first refusal, if it is to."""
        commands, self.command_stack = self.command_stack, []
        answers = await self._client.run(cast("Sequence[_Command]", commands), self.last, self.lasts)
        if raise_on_error:
            self.raise_first_error(commands, answers)
        return answers
