"""How much of a backend's answer is handled in one turn of the loop: by counters, never by a clock (H-12)."""

import asyncio
from typing import Any

import pytest

from bff.proxy.forward.forwarder import ForwardedCall
from bff.upstream import connection
from tests.support.network.backend import Conversation, raw_backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.wait import PATIENCE

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

pytestmark = [pytest.mark.requirement("H-12"), pytest.mark.usefixtures("both_fronts")]


async def heard(redis_server: RedisServer, content: bytes) -> tuple[bytes, bytes]:
    """What a client gets of an answer with this content, until the connection ends; and the metrics."""

    async def answers(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(HEAD)
        try:
            await conversation.send(content)
        except ConnectionError:
            return
        await conversation.closed()

    async with (
        raw_backend(answers) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        host = world.url.removeprefix("http://")
        writer.write(
            f"GET /api/x HTTP/1.1\r\nHost: {host}\r\nX-CSRF: 1\r\nConnection: close\r\n\r\n".encode()
        )
        async with asyncio.timeout(PATIENCE):
            received = b""
            try:
                while piece := await reader.read(1 << 20):
                    received += piece
            except ConnectionError:
                pass
        writer.close()
    return received, world.app.metrics.render()[0]


async def test_one_byte_chunks(redis_server: RedisServer) -> None:
    """An answer in chunks of one byte is refused, or broken off where it has begun, and called invalid."""
    received, metrics = await heard(redis_server, b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n")
    assert received.startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 502 Bad Gateway\r\n"))
    assert not received.endswith(b"0\r\n\r\n")
    assert len(received) < 100_000
    assert b'bff_upstream_faults_total{kind="invalid",route="/api"} 1.0' in metrics


async def test_content_is_joined(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one read brings is handed on in one piece, and nothing of it is lost."""
    reads, pieces = 0, list[bytes]()
    received, on_data = connection.UpstreamConnection.data_received, ForwardedCall.data

    def counted(self: Any, data: bytes) -> None:
        nonlocal reads
        reads += 1
        received(self, data)

    def handed(self: Any, chunk: bytes) -> None:
        pieces.append(chunk)
        on_data(self, chunk)

    monkeypatch.setattr(connection.UpstreamConnection, "data_received", counted)
    monkeypatch.setattr(ForwardedCall, "data", handed)
    answer, _ = await heard(redis_server, b"7\r\n0123456\r\n" * 60_000 + b"0\r\n\r\n")
    assert answer.endswith(b"0\r\n\r\n")
    assert b"0123456" * 60_000 == b"".join(pieces)
    assert len(pieces) <= reads
