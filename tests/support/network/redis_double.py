"""A server that speaks Redis' protocol and answers as a test says: Sentinels and servers that lie."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import hiredis

from bff.tasks import Tasks
from tests.support.network.open_streams import OpenStreams

Answer = bytes | None
"""What is sent; None: nothing, ever."""

Script = Callable[[list[str]], Answer | Awaitable[Answer]]

OK = b"+OK\r\n"


def resp(said: Any) -> bytes:
    """A value in RESP3."""
    match said:
        case None:
            line = "_"
        case Exception():
            line = f"-{said}"
        case int():
            line = f":{said}"
        case str():
            line = f"${len(said.encode())}\r\n{said}"
        case dict():
            line = f"%{len(said)}"
        case _:
            line = f"*{len(said)}"
    parts = [part for pair in said.items() for part in pair] if isinstance(said, dict) else said
    inner = map(resp, parts) if isinstance(said, dict | list) else ()
    return f"{line}\r\n".encode() + b"".join(inner)


class RedisDouble:
    """Listens on a port of 127.0.0.1; what belongs to signing in it answers by itself, unless scripted.

    Attributes:
        asked: the words of each command that the script was asked, in the order in which they came.
        connections: how many there have been.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[list[str]] = []
        self.connections = 0
        self.port = 0
        self._tasks = Tasks()
        self._streams = OpenStreams()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["RedisDouble"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self._tasks.cancel_all()
            await self._streams.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._streams.keep(writer):
            self.connections += 1
            self._tasks.spawn(self._serve(reader, writer), name="double")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader(encoding="utf-8")
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    commands.feed(data)
                    while (words := commands.gets()) is not False:
                        assert isinstance(words, list)
                        await self._answer(words, writer)
        finally:
            writer.close()

    async def _answer(self, words: list[str], writer: asyncio.StreamWriter) -> None:
        match [words[0].upper(), *words[1:]]:
            case ["CLIENT", *_] | ["SELECT", _]:
                said: Any = OK
            case ["HELLO", *_]:
                said = resp({"server": "redis", "proto": 3, "role": "master"})
            case _:
                self.asked.append(words)
                said = self.script(words)
                if isinstance(said, Awaitable):
                    said = await said
        if said is not None:
            writer.write(said)
            await writer.drain()


@contextlib.asynccontextmanager
async def redis_double(script: Script) -> AsyncIterator[RedisDouble]:
    """A running double."""
    async with RedisDouble(script).running() as double:
        yield double
