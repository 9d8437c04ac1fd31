"""Answers on the fast path that come in several reads: they stay on it, or go on from where they are."""

import asyncio

import pytest
from structlog.testing import capture_logs

from bff.session import session_calls
from bff.upstream import connection
from tests.flow.test_fast_path import conversation
from tests.support.load.warm import Caller, Plain, nothing_is_left, pool, warm_caller, watched
from tests.support.network.backend import Conversation, Received, Reply
from tests.support.network.resets import reset_at_close
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until

SIZE = 300_000
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % SIZE
CONTENT = bytes(range(256)) * (SIZE // 256 + 1)
BEGINNING = CONTENT[:1000]


class Halfway:
    """A backend that says the head and a beginning, and goes on when it is told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.goes_on = asyncio.Event()
        self.rest = CONTENT[1000:SIZE]
        self.asked: list[Conversation] = []
        world.reply = self.reply

    async def reply(self, request: Received) -> bytes:
        self.asked.append(conversation(self.world, request))
        await self.asked[-1].send(HEAD + BEGINNING)
        await self.goes_on.wait()
        return self.rest

    async def asked_by(self, caller: Caller) -> None:
        """The caller makes a call, and reads as much as there is."""
        caller.writer.write(caller.head())
        async with asyncio.timeout(60):
            assert (await caller.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert BEGINNING == await caller.reader.readexactly(len(BEGINNING))


@pytest.mark.requirement("H-03")
async def test_a_large_answer_is_fast(world: World, plain: Plain) -> None:
    """It comes in many reads, and is passed on as it comes; what is pipelined behind it waits."""
    caller = await warm_caller(world)
    await caller.plain(plain)
    sent, fell_back, kept = plain.sent, plain.fell_back, world.backend.connections
    backend = Halfway(world)
    with capture_logs() as lines:
        await backend.asked_by(caller)
        caller.writer.write(caller.head())
        backend.goes_on.set()
        async with asyncio.timeout(60):
            assert CONTENT[1000:SIZE] == await caller.reader.readexactly(SIZE - 1000)
        assert CONTENT[:SIZE] == (await caller.answer()).content
    assert plain.passed_on > 1
    assert (sent + 1, fell_back, kept) == (plain.sent, plain.fell_back, world.backend.connections)
    assert [200, 200] == [line["status"] for line in lines if line["event"] == "request"]
    await nothing_is_left(world)
    assert pool(world).open == pool(world).idle == 1


@pytest.mark.requirement("H-03", "H-08")
async def test_a_client_that_reads_slowly(
    world: World, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend is made to wait, in the middle of its answer; all of it comes in the end."""
    pieces = 400
    sent: list[int] = []

    async def large(request: Received) -> bytes:
        backend = conversation(world, request)
        await backend.send(HEAD.replace(b"%d" % SIZE, b"%d" % (SIZE * pieces)))
        for number in range(pieces - 1):
            await backend.send(CONTENT[:SIZE])
            sent.append(number)
        return CONTENT[:SIZE]

    browser = await world.signed_in()
    with watched(monkeypatch) as made:
        caller = await Caller.connected(world, browser, receive_buffer=4096)
        await caller.plain(plain)
        world.reply = large
        caller.writer.write(caller.head())
        await until(lambda: made[-1]._flow.write_paused)
        assert 1 == plain.fell_back
        before = -1
        while before != len(sent):
            before = len(sent)
            await asyncio.sleep(0.1)
        assert before < pieces / 2
        assert made[-1].transport.get_write_buffer_size() < 4 * SIZE
        answer = await caller.answer()
    assert SIZE * pieces == len(answer.content)
    assert CONTENT[:SIZE] == answer.content[-SIZE:]
    await nothing_is_left(world)
    world.reply = None
    assert 200 == (await caller.plain(plain)).status


@pytest.mark.requirement("S-01", "H-06")
async def test_the_session_ends(
    redis_server: RedisServer, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that lasts is broken off with its session."""
    monkeypatch.setattr(connection, "_FAST_FOR", 0.02)
    monkeypatch.setattr(session_calls, "YOUNG", 0.05)
    async with running_world(redis_server) as world:
        await until(lambda: world.app.shared.feed.trusted)
        caller = await warm_caller(world)
        await caller.plain(plain)
        backend = Halfway(world)
        before = plain.fell_back
        await backend.asked_by(caller)
        await until(lambda: len(world.app.frontend.forwarding.context.session_calls._watched) == 1)
        assert before + 1 == plain.fell_back
        world.redis.cli("DEL", world.browsers[-1].session_key)
        assert b"" == await caller.rest()
        await until(lambda: backend.asked[-1] not in world.backend.open or backend.asked[-1].reader.at_eof())
        await nothing_is_left(world)
        assert 0 == pool(world).open


@pytest.mark.requirement("H-06")
async def test_ends_in_the_middle(world: World, plain: Plain) -> None:
    """The client leaves, the backend breaks off or says more than it announced: never a clean end."""
    browser = await world.signed_in()

    async def leaves(caller: Caller, _: Halfway) -> None:
        reset_at_close(caller.writer)  # a mere close looks like half a close
        caller.leave()

    async def breaks(_: Caller, backend: Halfway) -> None:
        backend.asked[-1].end()

    async def says_more(_: Caller, backend: Halfway) -> None:
        backend.rest = backend.rest + b"HTTP/1.1 200 OK\r\n\r\n"
        backend.goes_on.set()

    for happens, status in ((leaves, 499), (breaks, 200), (says_more, 200)):
        world.reply = None
        caller = await Caller.connected(world, browser)
        await caller.plain(plain)
        backend, before = Halfway(world), plain.fell_back
        with capture_logs() as lines:
            await backend.asked_by(caller)
            await happens(caller, backend)
            rest = await caller.rest()
            await until(lambda lines=lines: any(line["event"] == "request" for line in lines))  # type: ignore[misc] # mypy knows no default
        assert before + 1 == plain.fell_back
        assert len(rest) < SIZE - 1000
        assert [status] == [line["status"] for line in lines if line["event"] == "request"]
        backend.goes_on.set()
        await nothing_is_left(world)
        assert 0 == pool(world).open


@pytest.mark.requirement("H-09")
async def test_a_stop_in_the_middle(world: World, plain: Plain) -> None:
    """The answer comes whole, and the connection ends with it."""
    caller = await warm_caller(world)
    await caller.plain(plain)
    backend = Halfway(world)
    await backend.asked_by(caller)
    stopping = asyncio.create_task(world.stop_proxy())  # noqa: TID251 - awaited below
    await until(lambda: plain.fell_back == 1)
    backend.goes_on.set()
    assert CONTENT[1000:SIZE] == await caller.rest()
    await stopping


@pytest.mark.requirement("H-12")
async def test_a_stream_with_a_length_is_counted(world: World, plain: Plain) -> None:
    """An answer of a kind that lasts is the forwarder's, which counts it among the streams."""
    caller = await warm_caller(world)
    await caller.plain(plain)

    async def stream(_: Received) -> Reply:
        return Reply(headers=[(b"content-type", b"application/x-ndjson")], body=bytes(1_000_000))

    world.reply = stream
    before = plain.passed_on
    assert 1_000_000 == len((await caller.call()).content)
    assert (before, 1) == (plain.passed_on, plain.fell_back)
