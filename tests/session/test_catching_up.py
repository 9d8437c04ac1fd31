"""Changes that Redis has told and the loop has not read yet: a call of the same turn knows of them."""

import asyncio
import select
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from bff.observe.metrics import NearCacheCounts
from bff.session.cached_session import CachedSession, NearSessions
from bff.session.invalidation_feed import LOOK_EVERY, InvalidationFeed, steady_now
from bff.session.near_cache import NearCache
from bff.session.redis_connection import Replies
from tests.session.sample import NOW, sample_session
from tests.support.network.relay import relay_to
from tests.support.network.tls import self_signed, server_tls
from tests.support.processes.redis import ON_EACH_SERVER, RedisServer
from tests.support.settings import redis_settings
from tests.support.wait import until

PREFIX = "bff:session:"
NOTES = "bff:ended:"
ITEM = CachedSession.of("handle", sample_session(), NOW + 60).entry
LOOPS = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

pytestmark = pytest.mark.requirement("B-22")


class Near:
    """A cache that follows a server, with the sessions `x` and `y` in it."""

    def __init__(self, url: str) -> None:
        self._ahead = 0.0
        self.feed = InvalidationFeed(redis_settings(url), prefix=PREFIX, notes=NOTES, clock=self._clock)
        self.cache = NearCache(memory=1024**2, feed=self.feed, counts=NearCacheCounts(), clock=self._clock)
        self.feed.subscribe(self.cache)
        self._sessions = NearSessions(self.cache, "bff")

    def _clock(self) -> float:
        return steady_now() + self._ahead

    @asynccontextmanager
    async def following(self) -> AsyncIterator["Near"]:
        await self.feed.start()
        try:
            await until(lambda: self.feed.trusted)
            for key in ("x", "y"):
                with self.cache.reading(key) as reading:
                    reading.keep(key.encode(), ITEM, 60)
                await until(lambda key=key: self.has(key))  # type: ignore[misc] # bound by its default
            yield self
        finally:
            await self.feed.aclose()

    def has(self, key: str) -> bool:
        return self._sessions.near(b"bff=" + key.encode()) is not None

    def told(self) -> None:
        """Waits, in this turn of the loop, until bytes lie on the tracking connection; a look is due."""
        (tracking,) = self.feed._followed
        assert tracking._replies is not None
        descriptor = tracking._replies._transport.get_extra_info("socket").fileno()
        assert [descriptor] in select.select([descriptor], [], [], 60)
        self._ahead += LOOK_EVERY


@contextmanager
def relay_elsewhere(port: int, **options: Any) -> Iterator[int]:
    """A relay that passes bytes on while the test's own loop does nothing."""
    running: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def run() -> None:
        async with relay_to(port, **options) as relay:
            running.put_nowait(relay.port)
            await over.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(running.get(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@ON_EACH_SERVER
@LOOPS
def test_a_call_in_the_turn_of_a_deletion(redis_server: RedisServer, loop_factory: LoopFactory) -> None:
    """It finds its session gone, though the loop has yet to read so, and any other session in its place."""

    async def delete() -> None:
        async with Near(redis_server.url).following() as near:
            with redis_server.client() as client:
                client.set(f"{PREFIX}x", "1")
            near.told()
            assert not near.has("x")
            assert near.has("y")

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(delete())


@LOOPS
def test_over_a_unix_socket(redis_server: RedisServer, loop_factory: LoopFactory, tmp_path: Path) -> None:
    """Likewise."""
    path = tmp_path / "redis.sock"

    async def delete() -> None:
        async with Near(f"unix://{path}").following() as near:
            with redis_server.client() as client:
                client.set(f"{PREFIX}x", "1")
            near.told()
            assert not near.has("x")
            assert near.has("y")

    with relay_elsewhere(redis_server.port, path=path), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(delete())


@LOOPS
def test_over_tls(redis_server: RedisServer, loop_factory: LoopFactory, tmp_path: Path) -> None:
    """There the loop alone can read what came: no session is taken from memory before it has."""
    certificate = self_signed(tmp_path)

    async def delete(port: int) -> None:
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={certificate.cert}"
        async with Near(url).following() as near:
            with redis_server.client() as client:
                client.set(f"{PREFIX}x", "1")
            near.told()
            assert not near.has("x")
            assert not near.has("y")
            await until(lambda: near.has("y"))
            assert not near.has("x")
        with redis_server.client() as client:
            await until(lambda: len(client.client_list()) == 1)  # the loop is done with TLS

    with (
        relay_elsewhere(redis_server.port, tls=server_tls(certificate)) as port,
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        runner.run(delete(port))


@LOOPS
def test_a_call_in_the_turn_of_a_loss(redis_server: RedisServer, loop_factory: LoopFactory) -> None:
    """Nobody hears of changes after the connection's end: no session is taken from memory."""

    async def lose() -> None:
        async with Near(redis_server.url).following() as near:
            with redis_server.client() as client:
                client.client_kill_filter(skipme=True, _type="normal")
            near.told()
            assert not near.has("y")

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(lose())


async def test_an_end_that_is_read_ends_trust_at_once(redis_server: RedisServer) -> None:
    """By no task, which would come a turn later."""
    async with Near(redis_server.url).following() as near:
        (tracking,) = near.feed._followed
        assert tracking._replies is not None
        tracking._replies.eof_received()
        assert not near.feed.trusted
        assert not near.has("y")


async def test_the_other_servers_bring_no_trust_back() -> None:
    """Once a cluster's server is lost, the answers of those that are still followed count for nothing."""
    feed = InvalidationFeed(redis_settings("redis://127.0.0.1:1/0"), prefix=PREFIX, notes=NOTES)
    feed._vouched = {0: steady_now(), 1: steady_now()}
    feed._vouch(0, steady_now())
    assert feed.trusted
    feed._distrust()
    feed._vouch(1, steady_now())
    assert not feed.trusted


class Read:
    """Replies on one half of a pair of sockets, and what came of them."""

    def __init__(self, connection: Any) -> None:
        self.taken: list[Any] = []
        self.ends = 0
        self.replies = Replies(connection, self._came, self._ended)

    def _came(self) -> None:
        while (reply := self.replies.take()) is not Replies.NOT_YET:
            self.taken.append(reply)

    def _ended(self) -> None:
        self.ends += 1


def in_turn(loop_factory: LoopFactory, do: Callable[[Read, socket.socket], Awaitable[None]]) -> None:
    """Runs this with replies on a TCP connection, and the other end of that."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            server, _ = listening.accept()
        with server:
            read = Read(SimpleNamespace(_reader=reader, _writer=writer))
            try:
                await do(read, server)
            finally:
                read.replies.close()
                assert not read.replies.catch_up()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


def _send(read: Read, server: socket.socket, said: bytes) -> None:
    """Returns once it has arrived."""
    server.sendall(said)
    _arrived(read)


def _arrived(read: Read) -> None:
    select.select([read.replies._transport.get_extra_info("socket").fileno()], [], [], 60)


@LOOPS
def test_a_part_of_a_reply(loop_factory: LoopFactory) -> None:
    """Its word is not known: `catch_up` says so until the rest has come."""

    async def do(read: Read, server: socket.socket) -> None:
        assert read.replies.catch_up()
        _send(read, server, b"+one\r\n$3\r\nt")
        assert not read.replies.catch_up()
        assert not read.replies.catch_up()
        _send(read, server, b"wo\r\n")
        assert read.replies.catch_up()
        assert ["one", "two"] == read.taken

    in_turn(loop_factory, do)


@LOOPS
def test_more_than_is_read_at_once(loop_factory: LoopFactory) -> None:
    """A flood is taken in pieces, by the calls and by the loop, in its order."""
    said = [f"{number}" * 1000 for number in range(300)]

    async def do(read: Read, server: socket.socket) -> None:
        flood = threading.Thread(
            target=server.sendall, args=("".join(f"+{one}\r\n" for one in said).encode(),)
        )
        flood.start()
        _arrived(read)
        read.replies.catch_up()
        assert read.taken
        await until(lambda: len(read.taken) == len(said))
        flood.join()
        assert read.replies.catch_up()
        assert said == read.taken

    in_turn(loop_factory, do)


@LOOPS
@pytest.mark.parametrize("broken", [False, True])
def test_an_end(loop_factory: LoopFactory, *, broken: bool) -> None:
    """The loop reports an end once, of whichever kind."""

    async def do(read: Read, server: socket.socket) -> None:
        if broken:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        _arrived(read)
        assert not read.replies.catch_up()
        assert 0 == read.ends
        await until(lambda: read.ends > 0)
        assert not read.replies.catch_up()
        transport = read.replies._transport
        await until(transport.is_closing)
        await asyncio.sleep(0)
        assert 1 == read.ends

    in_turn(loop_factory, do)
