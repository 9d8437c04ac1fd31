"""One process, or two."""

from collections.abc import AsyncIterator

import pytest

from tests.refresh.desk import Desk, running_desk
from tests.support.redis import RedisServer


@pytest.fixture
async def desk(redis_server: RedisServer) -> AsyncIterator[Desk]:
    async with running_desk(redis_server) as desk:
        yield desk


@pytest.fixture
async def two(redis_server: RedisServer) -> AsyncIterator[Desk]:
    async with running_desk(redis_server, processes=2) as desk:
        yield desk
