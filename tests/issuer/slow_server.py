"""A server with the issuer's connections on a real socket, whose answers can be held back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bff.embedded import free_port
from tests.support.error_log import no_error_logged
from tests.support.tasks import background
from tests.support.wait import until

HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
WHOLE, LONG = HEAD + b"abcd", HEAD.replace(b": 4", b": 4000")
LARGE = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE_ANSWER = b"x" * 16_000_000


@dataclass
class Served:
    """A server on a real socket; its answers are held back until `answers` is set."""

    port: int
    answers: asyncio.Event
    server: uvicorn.Server

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def connections(self) -> int:
        return len(self.server.server_state.connections)


@asynccontextmanager
async def serving(protocol: type[asyncio.Protocol]) -> AsyncIterator[Served]:
    """A server with that protocol, whose answers are what it got; no error is logged meanwhile."""

    async def echo(asked: Request) -> Response:
        try:
            body = await asked.body()
        except ClientDisconnect:
            return Response()
        await served.answers.wait()
        return PlainTextResponse(body)

    async def large(_: Request) -> Response:
        return PlainTextResponse(LARGE_ANSWER)

    routes = [Route("/echo", echo, methods=["POST"]), Route("/large", large)]
    config = uvicorn.Config(
        Starlette(routes=routes), port=free_port(), http=protocol, ws="none", lifespan="off", log_config=None
    )
    served = Served(config.port, asyncio.Event(), uvicorn.Server(config))
    served.answers.set()
    with no_error_logged():
        async with background(served.server.serve()) as running:
            await until(lambda: served.server.started)
            try:
                yield served
            finally:
                served.answers.set()
                served.server.should_exit = True
            await running
