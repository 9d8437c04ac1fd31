"""Bytes before a WebSocket's handshake is answered, and many small frames (H-12, H-13)."""

import asyncio
import logging

import pytest

from tests.support.network.backend import Conversation, raw_backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.wait import until


@pytest.mark.requirement("H-13")
@pytest.mark.parametrize("early", [b"\xff\xff\xff", b"\x81\x80\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\0"])
async def test_bytes_before_the_answer(
    redis_server: RedisServer, early: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes before the handshake is answered gets 400; no traceback, and the backend is left."""
    left: list[bytes] = []

    async def silent(conversation: Conversation) -> None:
        await conversation.read_head()
        asked.set()
        left.append(await conversation.reader.read(1))

    asked = asyncio.Event()
    async with (
        raw_backend(silent) as backend,
        running_world(
            redis_server, route={"upstream": backend.url, "auth": "none", "websocket": True}
        ) as world,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        fields = (
            f"Host: {world.url.removeprefix('http://')}\r\nOrigin: {world.url}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        )
        writer.write(f"GET /api/socket HTTP/1.1\r\n{fields}\r\n".encode())
        async with asyncio.timeout(30):
            await asked.wait()
            writer.write(early)
            assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        writer.close()
        await until(lambda: [b""] == left)
    assert [] == [record for record in caplog.records if record.levelno >= logging.ERROR]
