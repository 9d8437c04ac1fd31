"""One process, or two."""

from collections.abc import AsyncIterator

import pytest

from bff.refresh import rotation
from tests.refresh.harness import RefreshHarness, running_harness
from tests.support.processes.redis import RedisServer


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost answer is asked for again at once."""
    monkeypatch.setattr(rotation, "_REPEAT_AFTER", (0.0, 0.01))


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[RefreshHarness]:
    async with running_harness(redis_server) as harness:
        yield harness


@pytest.fixture
async def two(redis_server: RedisServer) -> AsyncIterator[RefreshHarness]:
    async with running_harness(redis_server, processes=2) as harness:
        yield harness
