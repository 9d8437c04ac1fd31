"""WebSockets when the proxy stops."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.frames import Close
from websockets.http11 import Request

from tests.support.network.sockets import Sockets, closing, running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until

AWAY, RESTART = Close(1001, ""), Close(1012, "")


@pytest.fixture
async def sockets(redis_server: RedisServer) -> AsyncIterator[Sockets]:
    async with running_sockets(redis_server) as sockets:
        yield sockets


@pytest.mark.requirement("H-09")
async def test_the_proxy_stops(sockets: Sockets) -> None:
    """The page is told 1012, come back, and the backend 1001."""
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser)
    await socket.send("still there?")
    assert "still there?" == await socket.recv()
    closed, _ = await asyncio.gather(closing(socket), sockets.world.stop_proxy())
    assert RESTART == closed
    await until(lambda: [AWAY] == sockets.backend.closes)
    assert 0 == len(sockets.world.app.tasks)


@pytest.mark.requirement("H-09", "S-11")
async def test_the_proxy_stops_during_a_handshake(sockets: Sockets) -> None:
    """The handshake is answered all the same, and then the socket is closed with its close frame."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def late(_: ServerConnection, __: Request) -> None:
        begun.set()
        await go_on.wait()

    browser = await sockets.world.signed_in()
    sockets.backend.refusal = late  # type: ignore[assignment] # the library awaits it
    async with background(sockets.connect(browser)) as opening:
        await begun.wait()
        server = sockets.world.server
        async with background(sockets.world.stop_proxy()) as stop:
            await until(lambda: not server.servers[0].is_serving())
            go_on.set()
            assert RESTART == await closing(await opening)
            await stop
