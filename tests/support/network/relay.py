"""A TCP relay in front of a server, which a test can silence without breaking anything, or cut."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from bff.tasks import Tasks
from tests.support.network.open_streams import OpenStreams

TRACKING = b"TRACKING"


class _Link:
    """One connection through the relay."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.asked = bytearray()
        self.open = asyncio.Event()
        self.open.set()
        self.answered = asyncio.Event()
        self.answered.set()

    def close(self) -> None:
        self.client.close()
        self.server.close()


class Relay:
    """Passes bytes on, both ways. `asked` is what clients sent, as the pieces came."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._links: list[_Link] = []
        self._tasks = Tasks()
        self._streams = OpenStreams()
        self.asked: list[bytes] = []
        self.port = 0

    def silence(self, said: bytes = b"") -> None:
        """Silences the connections whose client has said this; they stay open."""
        for link in self._who(said):
            link.open.clear()

    def hold_answers(self, said: bytes = b"") -> None:
        """Holds what the server answers to the clients that have said this; it hears them still."""
        for link in self._who(said):
            link.answered.clear()

    def resume(self) -> None:
        """Lets the held bytes and all later ones pass."""
        for link in self._links:
            link.open.set()
            link.answered.set()

    def say(self, words: bytes) -> None:
        """Says this to each client, as if the server had said it."""
        for link in self._who(b""):
            link.client.write(words)

    def cut(self, said: bytes = b"") -> None:
        """Closes the connections whose client has said this."""
        for link in self._who(said):
            link.close()

    def lead_to(self, port: int) -> None:
        """Has all later connections lead to another server, and closes those that there are."""
        self._target = (self._target[0], port)
        for link in tuple(self._links):
            link.close()

    def _who(self, said: bytes) -> list[_Link]:
        found = [link for link in self._links if said in link.asked]
        assert found, "nobody has said that"
        return found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        self._streams.keep(to_server)
        link = _Link(writer, to_server)
        self._links.append(link)
        back = self._tasks.spawn(self._pass(from_server, writer, link), name="relay, back")
        await self._pass(reader, to_server, link, forth=True)
        await back
        self._links.remove(link)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link, *, forth: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if forth:
                    link.asked += data
                    self.asked.append(data)
                await link.open.wait()
                if not forth:
                    await link.answered.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._streams.keep(writer):
            self._tasks.spawn(self._serve(reader, writer), name="relay, link")

    @contextlib.asynccontextmanager
    async def running(
        self, tls: ssl.SSLContext | None = None, path: Path | None = None
    ) -> AsyncIterator["Relay"]:
        """Listens on a free port of 127.0.0.1, or on a Unix socket."""
        if path is None:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
            self.port = server.sockets[0].getsockname()[1]
        else:
            server = await asyncio.start_unix_server(self._accept, path)
        try:
            yield self
        finally:
            server.close()
            for link in tuple(self._links):
                link.close()
            await self._tasks.cancel_all()
            await self._streams.close()


@contextlib.asynccontextmanager
async def relay_to(
    port: int, tls: ssl.SSLContext | None = None, path: Path | None = None
) -> AsyncIterator[Relay]:
    """A relay to a port of 127.0.0.1; its own side may be TLS, or a Unix socket."""
    async with Relay("127.0.0.1", port).running(tls, path) as relay:
        yield relay
