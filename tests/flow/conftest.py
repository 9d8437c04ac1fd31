"""The whole proxy, started anew for each test that asks for it."""

from collections.abc import AsyncIterator

import pytest

from tests.support.redis import RedisServer
from tests.support.world import World, running_world


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(redis_server) as world:
        yield world
