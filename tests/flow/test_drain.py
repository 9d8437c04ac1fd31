"""Connections before a stop: each carries one more answer, which says that it is the last (H-09, S-11)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.network.backend import Conversation, Received, Reply, raw_backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import PATIENCE, until

pytestmark = pytest.mark.requirement("H-09", "S-11")


class Client:
    """A connection as a reverse proxy keeps it."""

    def __init__(self, world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer
        self._host = world.url.removeprefix("http://")

    async def ask(self, path: str = "/api/x", method: str = "GET", body: bytes = b"") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nX-CSRF: 1\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await self._writer.drain()

    async def head(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()

    async def answer(self) -> tuple[str, bool]:
        """The status line, and whether the answer says that it is the last one."""
        head = await self.head()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        await self.reader.readexactly(length)
        return head.partition("\r\n")[0], "connection: close" in head

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()


@asynccontextmanager
async def client(world: World) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    try:
        yield Client(world, reader, writer)
    finally:
        writer.close()


def drain(world: World) -> None:
    for connection in list(world.server.server_state.connections):
        connection.drain()  # type: ignore[union-attr] # only ours has it


async def test_an_idle_connection(redis_server: RedisServer) -> None:
    """It stays open, its next request is answered like any other, and the answer says close."""
    async with running_world(redis_server, route={"auth": "none"}) as world:
        for before, path, status in ((0, "/api/x", 200), (3, "/api/x", 200), (1, "/bff/user", 401)):
            async with client(world) as kept:
                for _ in range(before):
                    await kept.ask(path)
                    assert not (await kept.answer())[1]
                await until(lambda: bool(world.server.server_state.connections))
                for _ in range(2):
                    drain(world)
                method, body = ("POST", b"{}") if status == 200 else ("GET", b"")
                await kept.ask(path, method, body)
                said, last = await kept.answer()
                assert f" {status} " in said
                assert last
                assert b"" == await kept.rest()


async def test_an_answer_that_has_not_begun(redis_server: RedisServer) -> None:
    """It is the last one, and says so."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def late(_: Received) -> Reply:
        asked.set()
        await go_on.wait()
        return Reply(body=b"done")

    async with running_world(redis_server, route={"auth": "none"}) as world, client(world) as busy:
        world.reply = late
        await busy.ask()
        await asked.wait()
        drain(world)
        go_on.set()
        assert ("http/1.1 200 ok", True) == await busy.answer()
        assert b"" == await busy.rest()


async def test_an_answer_that_has_begun(redis_server: RedisServer) -> None:
    """Its client has been promised another answer on this connection: the next one is the last."""
    go_on = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nno")
        await go_on.wait()
        await conversation.send(b"ne")
        while await conversation.read_head():
            await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")

    async with (
        raw_backend(slow) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
        client(world) as busy,
    ):
        await busy.ask()
        assert "connection: close" not in await busy.head()
        assert b"no" == await busy.reader.readexactly(2)
        drain(world)
        go_on.set()
        assert b"ne" == await busy.reader.readexactly(2)
        await busy.ask()
        assert ("http/1.1 200 ok", True) == await busy.answer()
        assert b"" == await busy.rest()
