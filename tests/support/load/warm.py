"""A client connection so warm that its next call takes the fast path, and a count of such calls."""

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from bff.proxy.server.http_protocol import HttpServerProtocol
from bff.upstream.backend_call import Call
from bff.upstream.connection import UpstreamConnection
from bff.upstream.pool import PoolStats
from tests.support.network.backend import Received, Reply
from tests.support.processes.world import Browser, World
from tests.support.wait import until

GET = "GET /api/orders HTTP/1.1"
ENOUGH = 3
"""So many calls alike, and the next is plain."""

_DATE = re.compile(rb"date: [^\r]*\r\n")


class Answer(NamedTuple):
    """An answer as it came: names in lower case."""

    status: int
    fields: list[tuple[str, str]]
    content: bytes
    head: bytes

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.fields if found == name]

    @property
    def code(self) -> tuple[int, str | None]:
        """The status, and the problem's code if it is one."""
        found = re.search(rb'"code": ?"(\w+)"', self.content)
        return self.status, found[1].decode() if found else None

    @property
    def lasting(self) -> bytes:
        """The head without what is another answer's another time."""
        return _DATE.sub(b"", self.head)


class Plain:
    """The counts of plain calls and of those that became whole ones, and the pieces that answers came in."""

    def __init__(self) -> None:
        self.sent = 0
        self.fell_back = 0
        self.passed_on = 0

    @property
    def ended_plain(self) -> int:
        """The number of calls that were plain to their end."""
        return self.sent - self.fell_back


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plain]:
    """Counts, in all worlds of a test."""
    plain = Plain()
    carry, adopt = UpstreamConnection.carry, UpstreamConnection.adopt

    def counting_carry(connection: UpstreamConnection, *call: Any) -> None:
        plain.sent += 1
        carry(connection, *call)

    def counting_adopt(connection: UpstreamConnection, *call: Any, **state: Any) -> Call:
        plain.fell_back += 1
        return adopt(connection, *call, **state)

    pass_on = HttpServerProtocol.pass_on

    def counting_pass_on(protocol: HttpServerProtocol, *piece: Any) -> None:
        pass_on(protocol, *piece)
        plain.passed_on += 1

    with monkeypatch.context() as patched:
        patched.setattr(UpstreamConnection, "carry", counting_carry)
        patched.setattr(UpstreamConnection, "adopt", counting_adopt)
        patched.setattr(HttpServerProtocol, "pass_on", counting_pass_on)
        yield plain


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HttpServerProtocol]]:
    """The server's ends of the client connections that are made."""
    made: list[HttpServerProtocol] = []
    connection_made = HttpServerProtocol.connection_made

    def noting(protocol: HttpServerProtocol, transport: asyncio.Transport) -> None:
        made.append(protocol)
        connection_made(protocol, transport)

    with monkeypatch.context() as patched:
        patched.setattr(HttpServerProtocol, "connection_made", noting)
        yield made


class Caller:
    """One client connection, as a browser or a reverse proxy keeps it."""

    def __init__(
        self, world: World, cookie: str | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.world = world
        self.cookie = cookie
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connected(
        cls, world: World, browser: Browser | None, *, receive_buffer: int | None = None
    ) -> "Caller":
        """Connects; with a small buffer the kernel takes little of what is not read."""
        client = socket.socket()
        client.setblocking(False)
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", world.port))
        reader, writer = await asyncio.open_connection(sock=client, limit=2**16)
        cookie = None if browser is None else f"bff={browser.handle}"
        caller = cls(world, cookie, reader, writer)
        world.stack.callback(caller.leave)
        return caller

    def head(self, line: str = GET, *more: str, cookie: str | None = None, csrf: bool = True) -> bytes:
        """A request's head, with the fields that every call has."""
        host = self.world.url.partition("//")[2]
        cookie = cookie or self.cookie
        fields = [line, f"Host: {host}"]
        fields += ["X-CSRF: 1"] if csrf else []
        fields += [f"Cookie: {cookie}"] if cookie else []
        return "\r\n".join([*fields, *more, "", ""]).encode()

    async def call(self, line: str = GET, *more: str, **options: Any) -> Answer:
        """One call and its answer."""
        self.writer.write(self.head(line, *more, **options))
        return await self.answer(with_content=not line.startswith("HEAD"))

    async def warm(self, line: str = GET, *more: str, **options: Any) -> "Caller":
        """Makes like calls until the next is a plain one."""
        for _ in range(ENOUGH):
            assert (await self.call(line, *more, **options)).status < 500
        return self

    async def plain(self, plain: "Plain", line: str = GET, *more: str, **options: Any) -> Answer:
        """Makes such calls until one was plain to its end, and so will be the next; returns its answer."""
        for _ in range(2 * ENOUGH):
            before = plain.ended_plain
            answer = await self.call(line, *more, **options)
            if plain.ended_plain > before:
                return answer
        raise AssertionError("no call was plain")

    async def answer(self, *, with_content: bool = True) -> Answer:
        """The next answer, framed by its length or in chunks."""
        async with asyncio.timeout(60):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            pairs = (line.split(": ", 1) for line in lines)
            fields = [(name.lower(), value) for name, value in pairs]
            status = int(first.split()[1])
            content = b""
            if with_content and status not in (204, 304):
                content = await self._content(dict(fields))
            return Answer(status, fields, content, head)

    async def _content(self, fields: dict[str, str]) -> bytes:
        if "chunked" != fields.get("transfer-encoding"):
            return await self.reader.readexactly(int(fields.get("content-length", "0")))
        content = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            content += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return content

    async def rest(self) -> bytes:
        """Everything up to the end of the connection; a reset is an end too."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def leave(self) -> None:
        """Goes away without a word."""
        self.writer.transport.abort()

    def close(self) -> None:
        """Closes: on the wire it looks like half a close, until something is sent."""
        self.writer.close()


async def warm_caller(world: World, line: str = GET, *more: str) -> Caller:
    """A connection of somebody signed in, whose next call like this is plain."""
    browser = await world.signed_in()
    caller = await Caller.connected(world, browser)
    return await caller.warm(line, *more)


def pool(world: World) -> PoolStats:
    """The numbers of the pool of the one backend."""
    (_, only) = world.app.shared.pools.all()[0]
    return only.stats()


async def nothing_is_left(world: World) -> None:
    """Every connection to the backend that is open is idle, and nobody waits for one."""
    await until(lambda: pool(world).waiting == 0 and pool(world).open == pool(world).idle)


async def idle_connections(world: World, count: int) -> None:
    """Makes this number of idle connections to the backend."""
    asked: list[Received] = []
    everybody = asyncio.Event()

    async def together(request: Received) -> Reply:
        asked.append(request)
        if len(asked) == count:
            everybody.set()
        await everybody.wait()
        return Reply(body=b"together")

    former, world.reply = world.reply, together
    browser = await world.signed_in()
    await asyncio.gather(*(browser.call(f"/api/{number}") for number in range(count)))
    world.reply = former
    assert count <= pool(world).idle
