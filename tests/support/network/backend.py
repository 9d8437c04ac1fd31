"""Backends of the tests: real sockets that do exactly what a test says.

`backend(handler)` speaks HTTP: each request that has arrived whole is handed to `handler`, which returns a
`Reply`, raw bytes, or nothing (then the connection is closed). `raw_backend(script)` says nothing by itself:
`script` drives each connection by hand. Waiting is done by events, never by time:

    async def handler(request: Received) -> Reply:
        await gate.wait()
        return Reply(body=[b"one", b"two"])

    async with backend(handler) as b:
        ...  # b.port, b.requests, b.connections
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bff.policy.fields import Header
from bff.policy.routes import Upstream
from bff.tasks import Tasks
from tests.support.network.open_streams import OpenStreams


@dataclass(frozen=True)
class Received:
    """A request as it arrived: names in lower case, `raw_head` word for word, `connection` from 0."""

    method: bytes
    target: bytes
    headers: list[Header]
    body: bytes
    raw_head: bytes
    connection: int

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.headers if found == name]


@dataclass(frozen=True)
class Reply:
    """An answer. `framing`: `length` (the body joined), `chunked` (a chunk a piece), or `close`.

    `cut_after` breaks the connection off after that many pieces of the body.
    """

    status: int = 200
    headers: Sequence[Header] = ()
    body: bytes | Sequence[bytes] | AsyncIterable[bytes] = b""
    framing: str = "length"
    close: bool = False
    cut_after: int | None = None
    interim: Sequence[bytes] = ()


class Conversation:
    """One accepted connection, for a script to drive."""

    def __init__(
        self, owner: "Backend", number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.owner = owner
        self.number = number
        self.reader = reader
        self.writer = writer

    async def read_head(self) -> Received | None:
        """The next request's head, its body left unread; None at the end of the connection."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *lines = raw[:-4].split(b"\r\n")
        method, target, _version = first.split(b" ")
        pairs = (line.split(b": ", 1) for line in lines)
        return Received(method, target, [(pair[0].lower(), pair[1]) for pair in pairs], b"", raw, self.number)

    async def read_body(self, head: Received) -> bytes:
        """The body that the head announces, chunked coding removed."""
        if head.values(b"transfer-encoding") != [b"chunked"]:
            length = head.values(b"content-length")
            return await self.reader.readexactly(int(length[0])) if length else b""
        body = bytearray()
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        assert await self.reader.readexactly(2) == b"\r\n"
        return bytes(body)

    async def read_request(self) -> Received | None:
        """The next request, whole, and recorded in `Backend.requests`; None at the end of the connection."""
        head = await self.read_head()
        if head is None:
            return None
        try:
            body = await self.read_body(head)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        request = Received(head.method, head.target, head.headers, body, head.raw_head, self.number)
        self.owner.requests.append(request)
        self.owner.changed.set()
        return request

    async def send(self, data: bytes) -> None:
        """Sends, and waits while the peer does not read."""
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self) -> bytes:
        """Waits until the peer has closed; returns what it still sent."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def end(self) -> None:
        """Says that nothing more will be sent (FIN), and closes."""
        self.writer.close()

    def cut(self) -> None:
        """Breaks the connection off (what is unread becomes a reset)."""
        self.writer.transport.abort()


Handler = Callable[[Received], Awaitable[Reply | bytes | None]]
Script = Callable[[Conversation], Awaitable[None]]


@dataclass
class Backend:
    """A test's view of its backend."""

    port: int = 0
    tls: bool = False
    socket: str | None = None
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    failures: list[BaseException] = field(default_factory=list)
    open: set[Conversation] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def upstream(self) -> Upstream:
        if self.socket is not None:
            return Upstream("http", "localhost", 80, self.socket)
        return Upstream("https" if self.tls else "http", "localhost" if self.tls else "127.0.0.1", self.port)

    @property
    def url(self) -> str:
        if self.socket is not None:
            return f"http://unix:{self.socket}"
        return f"{self.upstream.scheme}://{self.upstream.host}:{self.port}"

    def cut_all(self) -> None:
        """Breaks off every connection that is open now."""
        for conversation in list(self.open):
            conversation.cut()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition holds: looked at when a connection or a request comes or goes."""
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def raw_backend(
    script: Script, *, tls: ssl.SSLContext | None = None, port: int = 0, socket: Path | None = None
) -> AsyncIterator[Backend]:
    """A server whose connections `script` drives, and whose failure is the test's.

    It listens on a free port of 127.0.0.1, or on a Unix socket.
    """
    state = Backend(tls=tls is not None, socket=None if socket is None else str(socket))
    tasks, streams = Tasks(), OpenStreams()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if streams.keep(writer):
            tasks.spawn(serve(reader, writer), name="backend")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(state, state.connections, reader, writer)
        state.connections += 1
        state.open.add(conversation)
        state.changed.set()
        try:
            await script(conversation)
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            conversation.cut()
        except BaseException as error:  # noqa: BLE001 - handed to the test below, whatever it is
            state.failures.append(error)
        finally:
            state.open.discard(conversation)
            state.changed.set()
            writer.close()

    if socket is None:
        server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=tls)
        state.port = server.sockets[0].getsockname()[1]
    else:
        server = await asyncio.start_unix_server(accept, socket)
    try:
        yield state
    finally:
        server.close()
        await tasks.cancel_all()
        await streams.close()
    if state.failures:
        raise state.failures[0]


@contextlib.asynccontextmanager
async def backend(
    handler: Handler, *, tls: ssl.SSLContext | None = None, port: int = 0, socket: Path | None = None
) -> AsyncIterator[Backend]:
    """An HTTP/1.1 server like `raw_backend`, whose answers `handler` gives; connections are kept."""

    async def script(conversation: Conversation) -> None:
        while (request := await conversation.read_request()) is not None:
            reply = await handler(request)
            if reply is None:
                return
            if isinstance(reply, bytes):
                await conversation.send(reply)
            elif not await _send_reply(conversation, request, reply):
                return

    async with raw_backend(script, tls=tls, port=port, socket=socket) as state:
        yield state


async def _send_reply(conversation: Conversation, request: Received, reply: Reply) -> bool:
    """Sends it; False if the connection is to be closed now."""
    for line in reply.interim:
        await conversation.send(line)
    head = [b"HTTP/1.1 %d Status" % reply.status, *(b"%b: %b" % pair for pair in reply.headers)]
    body = reply.body
    if reply.framing == "length":
        body = body if isinstance(body, bytes) else b"".join([piece async for piece in _pieces(body)])
        if reply.status not in (204, 304):
            head.append(b"content-length: %d" % len(body))
    elif reply.framing == "chunked":
        head.append(b"transfer-encoding: chunked")
    if reply.close:
        head.append(b"connection: close")
    await conversation.send(b"\r\n".join([*head, b"", b""]))
    if request.method == b"HEAD" or reply.status in (204, 304):
        return not reply.close
    sent = 0
    async for piece in _pieces(body):
        if sent == reply.cut_after:
            break
        await conversation.send(
            b"%x\r\n%b\r\n" % (len(piece), piece) if reply.framing == "chunked" else piece
        )
        sent += 1
    if reply.cut_after is not None:
        return False
    if reply.framing == "chunked":
        await conversation.send(b"0\r\n\r\n")
    return not (reply.close or reply.framing == "close")


async def _pieces(body: bytes | Sequence[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
    elif isinstance(body, AsyncIterable):
        async for piece in body:
            yield piece
    else:
        for piece in body:
            yield piece


async def silent(conversation: Conversation) -> None:
    """A script that takes a connection, and says nothing."""
    await conversation.closed()
