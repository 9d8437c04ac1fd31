"""A WebSocket backend and a browser's WebSockets, both by the `websockets` library."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Request, Response

from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(socket: ServerConnection) -> None:
    """Says everything once more."""
    async for message in socket:
        await socket.send(message)


@dataclass
class SocketBackend:
    """The backend's recorded requests, and its behaviour."""

    handler: Handler = echo
    refusal: Callable[[ServerConnection, Request], Response | None] | None = None
    requests: list[Request] = field(default_factory=list)
    closes: list[Close] = field(default_factory=list)  # as the backend's side has seen them
    open: int = 0
    server: Server | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    @property
    def headers(self) -> Headers:
        """The headers of the last handshake."""
        return self.requests[-1].headers

    def judge(self, socket: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        return None if self.refusal is None else self.refusal(socket, request)

    async def handle(self, socket: ServerConnection) -> None:
        self.open += 1
        try:
            await self.handler(socket)
        except ConnectionClosed:
            pass
        finally:
            await socket.close()
            self.open -= 1
            self.closes.append(Close(socket.close_code or 0, socket.close_reason or ""))


@asynccontextmanager
async def socket_backend(**options: Any) -> AsyncIterator[SocketBackend]:
    """Runs one; `options` are those of `websockets.serve`."""
    backend = SocketBackend()
    async with serve(
        backend.handle, "127.0.0.1", 0, process_request=backend.judge, **options
    ) as backend.server:
        yield backend


@dataclass
class Sockets:
    """The proxy before a WebSocket backend."""

    world: World
    backend: SocketBackend

    async def connect(
        self, browser: Browser | None, path: str = "/api/feed", **options: Any
    ) -> ClientConnection:
        """Opens a WebSocket as a page of ours does, with the browser's cookies."""
        headers: list[tuple[str, str]] = list(options.pop("headers", []))
        if browser is not None:
            proofs = [f"; bff-bound={c.value}" for c in browser.client.cookies.jar if c.name == "bff-bound"]
            headers.append(("Cookie", f"bff={browser.handle}{''.join(proofs)}; other=1"))
        options.setdefault("origin", self.world.url)
        options.setdefault("compression", None)
        uri = self.world.url.replace("http://", "ws://") + path
        return await connect(uri, additional_headers=headers, proxy=None, **options)

    async def refused(self, browser: Browser | None, path: str = "/api/feed", **options: Any) -> Response:
        """The answer to a handshake that is refused."""
        try:
            socket = await self.connect(browser, path, **options)
        except InvalidStatus as refusal:
            return refusal.response
        await socket.close()
        raise AssertionError("let in")


async def closing(socket: ClientConnection) -> Close:
    """Waits for the close, and reads what comes before it."""
    async with asyncio.timeout(60):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return Close(socket.close_code or 0, socket.close_reason or "")


@asynccontextmanager
async def running_sockets(
    redis: RedisServer,
    *,
    route: dict[str, Any] | None = None,
    backend: dict[str, Any] | None = None,
    **sections: Any,
) -> AsyncIterator[Sockets]:
    """Starts all parts; `route` and `sections` as for `running_world`, `backend` for `websockets.serve`."""
    async with socket_backend(**(backend or {})) as sockets:
        changed = {"upstream": sockets.url, "websocket": True, **(route or {})}
        async with running_world(redis, route=changed, **sections) as world:
            yield Sockets(world, sockets)
