"""The whole proxy, started anew for each test that asks for it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.load.warm import Plain, counted
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import SERVER, World, running_world


@pytest.fixture(params=["auto", "off"], ids=["lane", "asgi"])
def both_fronts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the test over the lane, and over ASGI."""
    monkeypatch.setitem(SERVER, "lane", request.param)


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(redis_server) as world:
        yield world


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plain]:
    """Counts the calls that are plain."""
    with counted(monkeypatch) as plain:
        yield plain
