"""A real uvicorn with the server protocol and an application that tells what reached it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from bff.policy.request_refusal import Refusal
from bff.serve.uvicorn_config import client_protocol
from bff.settings.model import ServerSettings
from tests.support.wait import PATIENCE

HOST = "app.example.com"
PUBLIC_URL = f"http://{HOST}"


@dataclass
class Door:
    """A test's view of the server."""

    port: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # paths whose client went away
    release: asyncio.Event = field(default_factory=asyncio.Event)
    server: uvicorn.Server | None = None
    script: list[dict[str, Any]] = field(default_factory=list)  # what the application sends for /script

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        handler: Callable[..., Any] = getattr(self, "_" + scope["path"].split("/")[1], self._echo)
        await handler(scope, receive, send)

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.append(scope["path"])
                return
            body += message["body"]
            if not message["more_body"]:
                break
        request = {
            "method": scope["method"],
            "target": scope["raw_path"].decode(),
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]
            ],
            "body": body.decode("latin-1"),
        }
        self.seen.append(request)
        answer = json.dumps(request).encode()
        await send(_start((b"content-length", b"%d" % len(answer))))
        await send({"type": "http.response.body", "body": answer})

    async def _early(self, _: Any, __: Any, send: Any) -> None:
        await send(_start((b"content-length", b"5")))
        await send({"type": "http.response.body", "body": b"early"})

    async def _wait(self, scope: Any, _: Any, send: Any) -> None:
        self.seen.append({"target": scope["raw_path"].decode()})
        await self.release.wait()
        await send(_start((b"content-length", b"4")))
        await send({"type": "http.response.body", "body": b"done"})

    async def _stream(self, scope: Any, _: Any, send: Any) -> None:
        await send(_start())
        for piece in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if not scope["path"].endswith("broken"):
            await send({"type": "http.response.body", "body": b"end"})

    async def _script(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append({**scope, "headers": list(scope["headers"]), "received": [await receive()]})
        for message in self.script:
            await send(message)

    async def _flood(self, scope: Any, _: Any, send: Any) -> None:
        await send(_start())
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(64 * 1024), "more_body": True})
        self.gone.append(scope["path"])

    async def _medium(self, _: Any, __: Any, send: Any) -> None:
        await send(_start((b"content-length", b"60000")))
        await send({"type": "http.response.body", "body": bytes(60000)})

    async def _large(self, _: Any, __: Any, send: Any) -> None:
        await send(_start())
        await send({"type": "http.response.body", "body": bytes(32 * 1024 * 1024)})


def _start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


@asynccontextmanager
async def open_door(*, small_buffers: bool = False, **settings: Any) -> AsyncIterator[Door]:
    """Serves on a free port; `settings` are those of `[server]`."""
    door = Door()
    protocol = client_protocol(
        ServerSettings.model_validate({"public_url": PUBLIC_URL, **settings}),
        lambda refusal, _: door.refusals.append(refusal),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    if small_buffers:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    door.port = listener.getsockname()[1]
    config = uvicorn.Config(
        door.app,
        http=protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    config.load()
    door.server = server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])  # without its main loop, which only looks at the clock
    try:
        yield door
    finally:
        door.release.set()
        for listening in server.servers:
            listening.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110 - plain sets
                await asyncio.sleep(0)


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes, *, piecemeal: bool = False) -> None:
        """Writes, in one piece or byte by byte; a peer that hangs up meanwhile is no error."""
        pieces = [data[at : at + 1] for at in range(len(data))] if piecemeal else [data]
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()
                for _ in range(3):  # lets the server, which shares the loop, read this piece alone
                    await asyncio.sleep(0)

    def stop_reading(self) -> None:
        """Leaves what the server sends in the kernel's buffers, until those are full."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    def go_on_reading(self) -> None:
        """Reads again."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.resume_reading()

    async def rest(self) -> bytes:
        """All until the server hangs up."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer, whose body must have a length."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split(" ")[1]), headers, body


@asynccontextmanager
async def connected(door: Door, *, small_buffers: bool = False) -> AsyncIterator[Client]:
    """A connection to the door."""
    connection = socket.socket()
    if small_buffers:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", door.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 26)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(target: str = "/", method: str = "GET", *fields: str, body: bytes = b"") -> bytes:
    """A plain request; `fields` are whole header lines."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def problem_of(raw: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Takes the one answer of a connection apart."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert int(headers["content-length"]) == len(body)
    return int(lines[0].split(" ")[1]), headers, json.loads(body)
