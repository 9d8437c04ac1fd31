"""Clients that reset behind pipelined requests; uvloop refuses to write to a lost connection (H-13)."""

import asyncio
import logging
from typing import Any

import pytest
import uvloop

from tests.support.network.resets import send_and_reset
from tests.support.network.server_harness import Door, connected, open_door, request
from tests.support.wait import PATIENCE


async def all_gone(door: Door) -> None:
    """Every connection has been accepted, which happens in their order, and is over."""
    async with connected(door) as last:
        await last.send(request("/"))
        await last.answer()
    assert door.server is not None
    async with asyncio.timeout(PATIENCE):
        while door.server.server_state.connections:  # noqa: ASYNC110 - a plain set
            await asyncio.sleep(0)


@pytest.mark.requirement("H-13")
@pytest.mark.parametrize("path", ["/", "/stream", "/wait", "/early", "/medium"])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_two_requests_and_a_reset(loop_factory: Any, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """The loop hears of no error, and nothing is logged as one."""
    unhandled: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        async with open_door() as door:
            for _ in range(50):
                await asyncio.to_thread(send_and_reset, door.port, request(path) * 2)
            door.release.set()
            await all_gone(door)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
    assert [] == unhandled
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
