"""The whole proxy, started anew for each test that asks for it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.load.warm import Plain, counted
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import STOCK, UVICORN, World, running_world


@pytest.fixture(params=["server", "embedded"])
def both_fronts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the test over our server protocol, and with the plain ASGI application under stock uvicorn.

    A test marked `server_only` runs over ours alone: it shows what a stock server does not promise.
    """
    if request.param == "embedded":
        for name, value in STOCK.items():
            monkeypatch.setitem(UVICORN, name, value)


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(redis_server) as world:
        yield world


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plain]:
    """Counts the calls that are plain."""
    with counted(monkeypatch) as plain:
        yield plain
