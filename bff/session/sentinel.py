"""The master that Redis Sentinel names (`redis+sentinel://`): where it is, and when it is another.

Rule 1: every new connection asks a Sentinel where the master is, and then the server whether it is one: a
Sentinel that was cut off from the others names the former master for as long as it is.
Rule 2: a connection to a former master may stay open for ever. The feed of invalidations asks again and again
whether its server is still the one that Sentinel names, and begins anew on the other where it is not.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from bff.settings.redis_urls import SentinelUrl
from bff.tasks import Tasks


class MasterLocator:
    """The address of the master, as the first Sentinel to answer knows it.

    All Sentinels are asked at once, each on a connection for this one question: one that is out of reach
    delays nothing.

    Args:
        url: the Sentinels and the master's name.
        timeout: seconds for each Sentinel's connection and answer.
        tls: redis-py's options of TLS, for Sentinels as for the master.
    """

    def __init__(self, url: SentinelUrl, *, timeout: float, tls: Mapping[str, Any]) -> None:
        self._url = url
        self._options = {
            "username": url.sentinel_username,
            "password": url.sentinel_password,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": True,
            **tls,
        }
        self._kind = SSLConnection if url.server.startswith("rediss:") else Connection

    async def locate(self) -> tuple[str, int]:
        """Returns host and port of the master.

        Raises:
            MasterNotFoundError: no Sentinel answers, or none of those that do knows such a master.
        """
        tasks = Tasks()
        try:
            asking = [tasks.spawn(self._ask(each), name="Sentinel") for each in self._url.sentinels]
            for answer in asyncio.as_completed(asking):
                if (found := await answer) is not None:
                    return found
        finally:
            await tasks.cancel_all()
        raise MasterNotFoundError("no Sentinel that answers knows a master of this name")

    async def has_moved(self, address: tuple[str, int]) -> bool:
        """Returns true if the master is at another address than this; false where no Sentinel can tell."""
        try:
            return await self.locate() != address
        except MasterNotFoundError:
            return False

    async def _ask(self, address: tuple[str, int]) -> tuple[str, int] | None:
        host, port = address
        connection = self._kind(host=host, port=port, **self._options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call] # redis-py gives it no types
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.master)
            answer = await connection.read_response()
        except (RedisError, OSError):
            return None
        finally:  # not a client of redis-py's: one that is cancelled leaves its connection open
            await connection.disconnect(nowait=True)
        return (str(answer[0]), int(answer[1])) if isinstance(answer, list) else None


class ToMaster:
    """Over a kind of connection: it leads to the master that its locator names (Rule 1)."""

    host: str
    port: int

    def __init__(self, *, locator: MasterLocator, **options: Any) -> None:
        self.locator = locator
        super().__init__(**options)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it leads to, or led to last."""
        return self.host, self.port

    async def _connect(self) -> None:
        self.host, self.port = await self.locator.locate()
        await super()._connect()  # type: ignore[misc] # redis-py's

    async def on_connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Signs in, as redis-py does, and asks the server whether it is a master."""
        await super().on_connect_check_health(*arguments, **options)  # type: ignore[misc] # redis-py's
        assert isinstance(self, AbstractConnection)
        await self.send_command("ROLE")
        role = await self.read_response()
        said = role[0] if isinstance(role, list) and role else role
        if said not in {"master", b"master"}:
            raise RedisConnectionError("the server that Sentinel names is no master")
