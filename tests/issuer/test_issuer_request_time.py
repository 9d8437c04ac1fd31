"""Clients that take their time, at an issuer on a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from pydantic import SecretStr
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bff.issuer import request_time
from bff.issuer.cli import main
from bff.issuer.settings import IssuerSettings
from tests.issuer.slow_server import HEAD, LARGE, LONG, WHOLE, Served, serving
from tests.support.processes.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until

ISSUER = "http://localhost:9000"


@pytest.fixture(name="served", params=[H11Protocol, HttpToolsProtocol], ids=["h11", "httptools"])
async def _served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with serving(request_time.timed(request.param)) as served:
        yield served


@pytest.mark.parametrize(
    ("whole", "part", "piece"),
    [
        (b"", b"", b""),
        (b"", HEAD[:19] + b"\r\nX: ", b"x"),
        (b"", LONG, b"x"),
        (WHOLE, LONG, b""),
        (WHOLE, HEAD[:10], b"x"),
    ],
    ids=["nothing", "half a head", "half a body", "half a body behind a request", "half a head behind one"],
)
async def test_a_request_that_never_ends_ends_its_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch, whole: bytes, part: bytes, piece: bytes
) -> None:
    """Though a byte of it comes now and then; the request before it is answered."""
    monkeypatch.setattr(request_time, "LONGEST", 0.5)
    reader, writer = await served.connect()
    writer.write(whole + part)

    async def trickle() -> None:
        while not writer.is_closing():
            writer.write(piece)
            await asyncio.sleep(0.05)

    async with background(trickle()):
        answer = await reader.read()
    assert answer.count(b"200 OK") == bool(whole)
    writer.close()


async def test_an_answer_may_take_longer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is the client's; the connection goes on behind the answer."""
    monkeypatch.setattr(request_time, "LONGEST", 1.0)
    reader, writer = await served.connect()
    clock = asyncio.get_running_loop().time
    served.answers.clear()
    writer.write(WHOLE)
    begun = clock()
    await until(lambda: clock() > begun + 1.5)
    monkeypatch.setattr(request_time, "LONGEST", 60.0)
    served.answers.set()
    for _ in range(2):
        assert (await reader.readuntil(b"abcd")).startswith(b"HTTP/1.1 200 OK")
        writer.write(WHOLE)
    writer.close()


@pytest.mark.parametrize("protocol", [H11Protocol, HttpToolsProtocol])
@pytest.mark.parametrize("high_water", [64 * 1024, 1 << 30])
async def test_an_answer_that_is_not_read_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch, protocol: type[asyncio.Protocol], high_water: int
) -> None:
    """While the application waits to write on, and where it has written all that there was."""
    monkeypatch.setattr(request_time, "LONGEST", 0.5)
    base = request_time.timed(protocol)

    class WithLimit(base):  # type: ignore[misc, valid-type] # made at run time
        def connection_made(self, transport: asyncio.Transport) -> None:
            transport.set_write_buffer_limits(high_water)
            super().connection_made(transport)

    async with serving(WithLimit) as served:
        _, writer = await served.connect()  # a StreamReader that nobody reads soon stops to read
        writer.write(LARGE)
        await until(lambda: served.connections() == 1)
        await until(lambda: served.connections() == 0)
        writer.close()


def test_the_command_serves_by_it(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And answers no upgrade to a WebSocket, which would be a connection of another kind."""
    configs: list[uvicorn.Config] = []

    def seen(config: uvicorn.Config, listener: socket.socket, _: object) -> bool:
        configs.append(config)
        listener.close()
        return True

    monkeypatch.setattr(main, "serve_steadily", seen)
    monkeypatch.setattr(main, "configure", lambda _: None)
    main.run(IssuerSettings(url=ISSUER, redis_url=SecretStr(redis_server.url)), "127.0.0.1", 0)
    (config,) = configs
    assert ("TimedProtocol", "none") == (getattr(config.http, "__name__", None), config.ws)
    assert request_time.LONGEST == config.timeout_keep_alive  # idle ones end by one rule
