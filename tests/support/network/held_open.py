"""The streams and WebSockets that a session has open at a worker, and their backend."""

import asyncio
import time
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha1

from tests.support.network.backend import Conversation
from tests.support.processes.fleet import HOST, Member
from tests.support.wait import PATIENCE

_CSRF = ("X-CSRF: 1", "Sec-Fetch-Site: same-origin")
_UPGRADE = (
    f"Origin: http://{HOST}",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TICK = b"c\r\ndata: tick\n\n\r\n"
_SWITCHING = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: %s\r\n\r\n"
)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_READ = 1000  # bytes: more than any head here
WHOLE = b"0\r\n\r\n"
CLOSED = b"\x11\x31the session has ended"  # what a close frame holds: 4401, and why


async def answering(conversation: Conversation) -> None:
    """WebSockets are opened, `/stream` streams, everything else is answered at once."""
    while (head := await conversation.read_head()) is not None:
        if key := head.values(b"sec-websocket-key"):
            accept = b64encode(sha1(key[0] + _GUID).digest()).decode()  # noqa: S324 - RFC 6455 says so
            await conversation.send((_SWITCHING % accept).encode())
            await conversation.closed()
            return
        if head.target.endswith(b"/stream"):
            await conversation.send(_STREAM)
            while not conversation.reader.at_eof():
                await conversation.send(TICK)
                await asyncio.sleep(0.05)
            return
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@dataclass
class Open:
    """A stream or WebSocket of a session, open at a worker."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    said: bytes
    ended_at: float = 0.0

    @classmethod
    async def at(cls, port: int, member: Member, path: str, first: bytes, *fields: str) -> "Open":
        """Asks, and waits for its first bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = [f"GET {path} HTTP/1.1", f"Host: {HOST}", f"Cookie: bff={member.handle}", *fields, "", ""]
        writer.write("\r\n".join(head).encode())
        async with asyncio.timeout(PATIENCE):
            return cls(reader, writer, await reader.readuntil(first))

    async def rest(self) -> bytes:
        """Everything up to a last chunk, a close frame, or the end of the connection."""
        said = b""
        async with asyncio.timeout(PATIENCE):
            while not said.endswith((WHOLE, CLOSED)):
                try:
                    piece = await self.reader.read(_READ)
                except ConnectionError:
                    break
                if not piece:
                    break
                said += piece
        self.ended_at = time.perf_counter()
        self.writer.transport.abort()
        return said


async def events(port: int, member: Member) -> Open:
    """The stream of `/bff/events`."""
    return await Open.at(port, member, "/bff/events", b"retry: 1000\n\n", *_CSRF)


async def stream(port: int, member: Member) -> Open:
    """An event stream of the backend's."""
    return await Open.at(port, member, "/api/stream", TICK, *_CSRF)


async def socket(port: int, member: Member) -> Open:
    """A WebSocket."""
    opened = await Open.at(port, member, "/api/socket", b"\r\n\r\n", *_UPGRADE)
    assert b"101" == opened.said.split()[1], opened.said
    return opened


async def ends(things: list[Open]) -> list[bytes]:
    """Reads all to their ends, at the same time: a reset would take away what has not been read."""
    return await asyncio.gather(*(each.rest() for each in things))
