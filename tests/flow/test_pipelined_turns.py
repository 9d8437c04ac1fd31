"""Many pipelined requests in one read leave the loop to others after some of them (H-12)."""

import asyncio
from collections import Counter

import pytest

from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.server import http_protocol
from tests.support.processes.world import World


@pytest.mark.requirement("H-12")
async def test_pipelined_refusals(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are answered at once, without a backend, are taken some at a time."""
    turn, of_turns = 0, Counter[int]()
    begin = ForwardedCall.begin

    def noted(self: ForwardedCall) -> None:
        of_turns[turn] += 1
        begin(self)

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(ForwardedCall, "begin", noted)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    counting = asyncio.create_task(count())  # noqa: TID251 - cancelled below
    host = world.url.removeprefix("http://")
    writer.write(f"GET /api/x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 500)
    async with asyncio.timeout(60):
        for _ in range(500):
            assert b"HTTP/1.1 403 Forbidden\r\n" == await reader.readline()
            length = 0
            while line := (await reader.readline()).strip().lower():
                if line.startswith(b"content-length: "):
                    length = int(line[16:])
            await reader.readexactly(length)
    counting.cancel()
    writer.close()
    assert 500 == of_turns.total()
    assert max(of_turns.values()) <= http_protocol.MOST_HEADS + 1
