"""Mistakes: ours are said and logged once, a client's never look like ours in the log."""

import asyncio
import logging

import pytest

from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world

pytestmark = pytest.mark.usefixtures("both_fronts")


@pytest.mark.requirement("H-08")
@pytest.mark.parametrize("when", ["before", "after a 401"])
async def test_a_mistake_of_ours_leaves_no_call_unanswered(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Whatever goes wrong while a call's token is looked up or renewed, the client hears of it: 500."""
    browser = await world.signed_in()

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(world.app.frontend.providers.default, "refresh", broken)
    if when == "before":
        world.clock.ahead = 400
    else:
        world.reply = unauthorized
    async with asyncio.timeout(60):
        answer = await browser.call("/api/orders")
    assert (500, "internal_error") == (answer.status_code, answer.json()["code"])


async def unauthorized(_: object) -> bytes:
    return b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.requirement("H-02")
@pytest.mark.server_only
async def test_a_malformed_request_behind_another_is_no_mistake_of_ours(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Pipelined after one that is answered by an exception's handler: 400, and no traceback in the log."""
    async with running_world(redis_server) as world:
        caplog.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        host = b"Host: localhost:%d\r\n" % world.port
        writer.write(b"PUT /bff/user HTTP/1.1\r\n" + host + b"\r\n")
        writer.write(b"GET / HTTP/1.1\r\n" + host + b": no name\r\n\r\n")
        async with asyncio.timeout(60):
            answers = await reader.read()
        writer.close()
    assert [b"405", b"400"] == [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
