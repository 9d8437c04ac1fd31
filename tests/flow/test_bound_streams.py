"""Streams and sockets of sessions that are bound to a device, where their time is bounded."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.device import bound
from tests.support.network.backend import Received, Reply
from tests.support.network.sockets import closing, running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.wait import PATIENCE

pytestmark = [pytest.mark.requirement("P-12"), pytest.mark.usefixtures("both_fronts")]
SHORT: dict[str, Any] = {"device_binding": "offered", "bound_stream_lifetime": 0.3}
OVER = 400.0  # seconds: after the end of a proof


async def test_a_socket_of_a_bound_session_ends(redis_server: RedisServer) -> None:
    """In good order; with a fresh proof it is opened again, with a copied and ended one it is not."""
    async with running_sockets(redis_server, session=SHORT) as sockets:
        browser, unbound = await sockets.world.signed_in(), await sockets.world.signed_in()
        device = await bound(browser)
        async with await sockets.connect(unbound) as lasting, await sockets.connect(browser) as socket:
            assert 1001 == (await closing(socket)).code
            await lasting.send("still here")
            assert "still here" == await lasting.recv()
        sockets.world.clock.ahead = OVER
        assert 401 == (await sockets.refused(browser)).status_code
        assert 200 == (await device.refresh()).status_code
        async with await sockets.connect(browser) as socket:
            assert 1001 == (await closing(socket)).code


async def test_an_event_stream_of_a_bound_session_ends(redis_server: RedisServer) -> None:
    """A backend's, and ours: cleanly, so that its reader comes back, with a good proof alone."""

    async def events() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        await asyncio.Event().wait()

    async def stream(_: Received) -> Reply:
        return Reply(headers=[(b"content-type", b"text/event-stream")], body=events(), framing="chunked")

    async with running_world(redis_server, session=SHORT) as world:
        world.reply = stream
        browser = await world.signed_in()
        await bound(browser)
        answer = await browser.call("/api/feed")  # one that is broken off raises
        assert 200 == answer.status_code
        async with asyncio.timeout(PATIENCE):  # its heartbeats would go on for as long as it does
            assert 200 == (await browser.call("/bff/events")).status_code
        world.clock.ahead = OVER
        assert [401, 401] == [(await browser.call(path)).status_code for path in ("/api/feed", "/bff/events")]
