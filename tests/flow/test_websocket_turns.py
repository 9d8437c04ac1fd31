"""Many tiny WebSocket frames of one client leave the loop to others: by counters, never by a clock (H-12)."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from bff.proxy.server.websocket_protocol import WebSocketServerProtocol
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.wait import PATIENCE, until

FRAME = b"\x82\x81\0\0\0\0a"  # binary, masked by zeros, one byte
FRAMES = 20_000


@pytest.mark.requirement("H-12")
async def test_one_byte_frames(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are handled some at a time; another client's call is answered before they are through."""
    turn, handled, got = 0, Counter[int](), 0
    take = WebSocketServerProtocol._take_piece

    def noted(self: WebSocketServerProtocol, event: Any) -> None:
        handled[turn] += 1
        take(self, event)

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def swallow(socket: ServerConnection) -> None:
        nonlocal got
        async for message in socket:
            assert b"a" == message
            got += 1

    monkeypatch.setattr(WebSocketServerProtocol, "_take_piece", noted)
    async with running_sockets(redis_server, route={"auth": "none"}) as sockets:
        sockets.backend.handler = swallow
        world = sockets.world
        other = await world.browser()
        assert 401 == (await other.user()).status_code
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        fields = (
            f"Host: {world.url.removeprefix('http://')}\r\nOrigin: {world.url}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        )
        writer.write(f"GET /api/feed HTTP/1.1\r\n{fields}\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            counting = asyncio.create_task(count())  # noqa: TID251 - cancelled below
            writer.write(FRAME * FRAMES)
            await until(lambda: handled.total() > 0)
            assert 401 == (await other.user()).status_code
            assert handled.total() < FRAMES
            await until(lambda: got == FRAMES)
        counting.cancel()
        writer.close()
    assert FRAMES == handled.total()
    assert max(handled.values()) <= 1200
