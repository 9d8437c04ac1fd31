"""A 304 keeps the length that it came with, on both fronts (RFC 9110 8.6)."""

import asyncio

from tests.support.network.backend import Conversation, raw_backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world


async def test_the_length_of_a_304(redis_server: RedisServer) -> None:
    """The length passes, no content is waited for, and the client's connection goes on."""

    async def unchanged(conversation: Conversation) -> None:
        while await conversation.read_head() is not None:
            await conversation.send(b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n')

    async with (
        raw_backend(unchanged) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        host = world.url.removeprefix("http://")
        for _ in range(4):
            writer.write(f"GET /api/x HTTP/1.1\r\nHost: {host}\r\nX-CSRF: 1\r\n\r\n".encode())
            async with asyncio.timeout(30):
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 304 ")
            assert b"\r\ncontent-length: 5\r\n" in head
        writer.close()
