"""A small HTTP proxy on loopback: CONNECT and absolute-form (RFC 9110 9.3.6, RFC 9112 3.2.2)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from bff.tasks import Tasks
from tests.support.network.open_streams import OpenStreams

_HEAD_END = b"\r\n\r\n"


class HttpProxy:
    """The proxy itself. `refusal` answers requests instead, `silent` leaves them without an answer."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []  # of the requests that came, tunnels' contents not among them
        self.refusal = b""  # a status line's rest, as `502 Bad Gateway`
        self.refuses_tunnels_alone = False
        self.silent = False
        self.url = ""
        self._tasks = Tasks()
        self._streams = OpenStreams()

    @property
    def methods(self) -> list[bytes]:
        return [head.partition(b" ")[0] for head in self.heads]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(_HEAD_END)
            self.heads.append(head)
            refused = self.refusal and (head.startswith(b"CONNECT ") or not self.refuses_tunnels_alone)
            if self.silent:
                await reader.read()
            elif refused:
                writer.write(f"HTTP/1.1 {self.refusal.decode()}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
            else:
                await self._forward(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # one side left
        finally:
            writer.close()

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, rest = head.split(b" ", 2)
        url = urlsplit(f"//{target.decode()}" if method == b"CONNECT" else target.decode())
        from_server, to_server = await asyncio.open_connection(url.hostname, url.port)
        self._streams.keep(to_server)
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            to_server.write(b" ".join([method, path.encode(), rest]))
        back = self._tasks.spawn(_pass(from_server, writer), name="http proxy, back")
        await _pass(reader, to_server)
        await back

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._streams.keep(writer):
            self._tasks.spawn(self._serve(reader, writer), name="http proxy")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["HttpProxy"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await self._tasks.cancel_all()
            await self._streams.close()


def http_proxy() -> contextlib.AbstractAsyncContextManager[HttpProxy]:
    """A proxy on a free port."""
    return HttpProxy().running()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one side left
    finally:
        writer.close()
