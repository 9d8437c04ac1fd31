"""Event streams end at once, and cleanly, when the proxy stops (H-09)."""

import asyncio
import logging
from typing import Any

import pytest

from bff.proxy.forward.call_accounting import note_call
from tests.support.network.backend import Conversation, raw_backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import PATIENCE, until

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CODED = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n")
RETRY = b"retry: 1000\n\n"

pytestmark = pytest.mark.requirement("H-09")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses that calls were noted with."""
    statuses: list[int] = []

    def listening(*args: Any, status: int, **others: Any) -> None:
        statuses.append(status)
        note_call(*args, **{**others, "status": status})

    monkeypatch.setattr("bff.proxy.forward.call_end.note_call", listening)
    return statuses


def request(host: str, version: str = "1.1") -> bytes:
    return f"GET /api/x HTTP/{version}\r\nHost: {host}\r\nX-CSRF: 1\r\n\r\n".encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(("sent", "last"), [(b"data: 1\n\n", RETRY), (b"data: 1\n\ndata: 2\n", b"")])
async def test_a_stop(  # noqa: PLR0917 - fixtures and cases
    redis_server: RedisServer,
    sent: bytes,
    last: bytes,
    version: str,
    noted: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An open stream gets a `retry:` behind its last whole event, and a clean end; it counts as answered."""

    async def streams(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(HEAD + chunk(sent))
        await conversation.closed()

    async with (
        raw_backend(streams) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(request(world.url.removeprefix("http://"), version))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(sent)
            rest, _ = await asyncio.gather(reader.read(), world.stop_proxy())
        writer.close()
    if version == "1.1":
        assert b"\r\n" + (chunk(last) if last else b"") + b"0\r\n\r\n" == rest
    else:
        assert last == rest
    assert [200] == noted
    assert [] == errors(caplog)


async def test_a_stream_known_from_before(redis_server: RedisServer, noted: list[int]) -> None:
    """A stream whose call needed no second judgement ends like any other."""

    async def streams(conversation: Conversation) -> None:
        for _ in range(3):
            await conversation.read_head()
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await conversation.read_head()
        await conversation.send(HEAD + chunk(b"data: 1\n\n"))
        await conversation.closed()

    async with (
        raw_backend(streams) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                writer.write(request(world.url.removeprefix("http://")))
                await reader.readuntil(b"\r\n\r\nok")
            writer.write(request(world.url.removeprefix("http://")))
            await reader.readuntil(b"data: 1\n\n\r\n")
            rest, _ = await asyncio.gather(reader.read(), world.stop_proxy())
        writer.close()
    assert chunk(RETRY) + b"0\r\n\r\n" == rest
    assert {200} == set(noted)


@pytest.mark.parametrize("early", [b"", b"data: 1\n\n"])
async def test_a_head_that_comes_after_the_stop(
    redis_server: RedisServer, early: bytes, noted: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that begins while the proxy stops ends with its head."""
    asked, stopping = asyncio.Event(), asyncio.Event()

    async def begins(world: World) -> None:
        streams_open = world.app.frontend.forwarding.context.event_streams.whole
        await until(lambda: streams_open._stopping)
        stopping.set()

    async def streams(conversation: Conversation) -> None:
        await conversation.read_head()
        asked.set()
        await stopping.wait()
        await conversation.send(HEAD + (chunk(early) if early else b""))
        await conversation.closed()

    async with (
        raw_backend(streams) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(request(world.url.removeprefix("http://")))
        async with asyncio.timeout(PATIENCE):
            await asked.wait()
            heard, *_ = await asyncio.gather(reader.read(), world.stop_proxy(), begins(world))
        writer.close()
    head, _, rest = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert chunk(RETRY) + b"0\r\n\r\n" == rest
    assert [200] == noted
    assert [] == errors(caplog)


async def test_a_coded_stream(
    redis_server: RedisServer, noted: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """A stream in a content coding has no place for a `retry`, and ends at once all the same."""

    async def streams(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(CODED + chunk(b"\x0b\x02\x80data\x03"))
        await conversation.closed()

    async with (
        raw_backend(streams) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(request(world.url.removeprefix("http://")))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"data\x03")
            rest, _ = await asyncio.gather(reader.read(), world.stop_proxy())
        writer.close()
    assert b"\r\n0\r\n\r\n" == rest
    assert [200] == noted
    assert [] == errors(caplog)
