"""Connections to Redis that end while they are used."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from bff.session.redis_connection import FreshPool, connect, new_connection
from tests.support.processes.redis import RedisServer
from tests.support.settings import PATIENCE, redis_settings

Make = Callable[[str], AbstractConnection]


def single(url: str) -> AbstractConnection:
    """One as the feed and the loads have it."""
    return new_connection(redis_settings(url))


def pooled(url: str) -> AbstractConnection:
    """One of the pool."""
    pool: Any = FreshPool.from_url(url, socket_timeout=PATIENCE)
    made: AbstractConnection = pool.make_connection()
    return made


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("make", [single, pooled])
def test_a_connection_that_has_just_ended(
    redis_server: RedisServer, make: Make, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Writing to it is redis-py's error on every loop, so that whoever asked says 503, and not 500."""

    async def write() -> None:
        connection = make(redis_server.url)
        await connect(connection)
        assert connection._writer is not None
        connection._writer.transport.abort()
        with pytest.raises(RedisConnectionError):
            await connection.send_command("PING")
        await connection.disconnect()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(write())
