"""Clients that reset behind pipelined requests: no error anywhere, under uvloop either (H-13)."""

import asyncio
import logging
from typing import Any

import pytest
import uvloop

from tests.support.network.backend import Received, Reply
from tests.support.network.resets import send_and_reset
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world

TIMES = 40


@pytest.mark.requirement("H-13")
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_two_requests_and_a_reset(
    redis_server: RedisServer, loop_factory: Any, framing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused ones, our own pages', and those that a backend answers."""
    unhandled: list[dict[str, Any]] = []

    async def run() -> None:
        async def reply(_: Received) -> Reply:
            return Reply(body=[b"one", b"two"], framing=framing)

        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        async with running_world(redis_server, route={"auth": "none"}) as world:
            world.reply = reply
            host = world.url.removeprefix("http://")
            for path, fields in (("/api/x", "X-CSRF: 1\r\n"), ("/api/x", ""), ("/bff/user", "X-CSRF: 1\r\n")):
                asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()
                for _ in range(TIMES):
                    await asyncio.to_thread(send_and_reset, world.port, asked * 2)
            browser = await world.browser()
            assert 200 == (await browser.call("/api/x")).status_code

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
    assert [] == unhandled
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
