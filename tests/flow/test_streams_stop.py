"""Event streams end at once, and cleanly, when the proxy stops (H-09)."""

import asyncio
import logging

import pytest

from tests.support.network.backend import Conversation, raw_backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world


@pytest.mark.requirement("H-09")
@pytest.mark.parametrize(
    ("sent", "last"), [(b"data: 1\n\n", b"retry: 1000\n\n"), (b"data: 1\n\ndata: 2\n", b"")]
)
async def test_a_stop(
    redis_server: RedisServer, sent: bytes, last: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """An open stream gets a `retry:` behind its last whole event, and a clean end."""

    async def streams(conversation: Conversation) -> None:
        await conversation.read_head()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await conversation.send(head + b"%x\r\n%b\r\n" % (len(sent), sent))
        await conversation.closed()

    async with (
        raw_backend(streams) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        host = world.url.removeprefix("http://")
        writer.write(f"GET /api/x HTTP/1.1\r\nHost: {host}\r\nX-CSRF: 1\r\n\r\n".encode())
        async with asyncio.timeout(60):
            await reader.readuntil(sent + b"\r\n")
            rest, _ = await asyncio.gather(reader.read(), world.stop_proxy())
        writer.close()
    expected = b"%x\r\n%b\r\n" % (len(last), last) if last else b""
    assert expected + b"0\r\n\r\n" == rest
    assert [] == [record for record in caplog.records if record.levelno >= logging.ERROR]
