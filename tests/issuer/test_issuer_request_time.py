"""Clients that take their time, at an issuer on a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bff.embedded import free_port
from bff.issuer import request_time
from bff.issuer.cli import main
from bff.issuer.settings import IssuerSettings
from tests.support.error_log import no_error_logged
from tests.support.processes.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until

ISSUER = "http://localhost:9000"
HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
WHOLE, LONG = HEAD + b"abcd", HEAD.replace(b": 4", b": 4000")


@dataclass
class Served:
    """A server on a real socket; its answers are held back until `answers` is set."""

    port: int
    answers: asyncio.Event

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture(name="served", params=[H11Protocol, HttpToolsProtocol], ids=["h11", "httptools"])
async def _served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """A server with that protocol, whose answers are what it got."""

    async def echo(asked: Request) -> Response:
        try:
            body = await asked.body()
        except ClientDisconnect:
            return Response()
        await served.answers.wait()
        return PlainTextResponse(body)

    served = Served(free_port(), asyncio.Event())
    served.answers.set()
    app = Starlette(routes=[Route("/echo", echo, methods=["POST"])])
    config = uvicorn.Config(
        app,
        port=served.port,
        http=request_time.timed(request.param),
        ws="none",
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    with no_error_logged():
        async with background(server.serve()) as serving:
            await until(lambda: server.started)
            yield served
            server.should_exit = True
            await serving


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
