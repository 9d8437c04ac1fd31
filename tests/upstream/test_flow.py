"""Backpressure in both directions: what is not taken at one end is not taken from the other (H-03)."""

import asyncio
import socket

import pytest

from bff.upstream.backend_call import Call
from tests.support.network.backend import Conversation, raw_backend
from tests.support.network.recording_sink import RecordingSink
from tests.support.network.upstream import begin, pool_for, request

MIB = 1024 * 1024
ONE_READ = 256 * 1024
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


class Meter:
    """Counts, and tells when the count has stood still."""

    def __init__(self) -> None:
        self.count = 0
        self._moved = asyncio.Event()

    def add(self, count: int) -> None:
        self.count += count
        self._moved.set()

    async def stalled(self) -> int:
        """The count once it has not moved for half a second."""
        while True:
            self._moved.clear()
            try:
                async with asyncio.timeout(0.5):
                    await self._moved.wait()
            except TimeoutError:
                return self.count


@pytest.mark.requirement("H-03")
async def test_a_slow_reader_stops_the_backend() -> None:
    """With the answer paused, at most one read is still delivered, and the backend can send little more."""
    sent = Meter()
    total = 16 * MIB

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        narrow = conversation.writer.get_extra_info("socket")
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # what the kernel holds for the backend
        await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // 16384):
            await conversation.send(b"x" * 16384)
            sent.add(16384)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request())
        sink.keep = False
        sink.on["head"] = call.pause_answer
        await sink.until(lambda: bool(sink.status))
        stalled = await sent.stalled()
        assert sink.size <= ONE_READ
        assert stalled < MIB
        call.resume_answer()
        await sink.done()
        assert (total, "end") == (sink.size, sink.events[-1])


@pytest.mark.requirement("H-03")
@pytest.mark.parametrize("length", [True, False])
async def test_a_slow_backend_stops_the_client(length: bool) -> None:
    """A backend that takes nothing pauses the body within some hundred kilobytes; it all arrives later."""
    total = 16 * MIB
    piece = b"x" * 16384
    read = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        head = await conversation.read_head()
        assert head is not None
        await read.wait()
        assert total == len(await conversation.read_body(head))
        await conversation.send(OK)
        await conversation.closed()

    async def upload(call: Call, sink: RecordingSink) -> int:
        sent = 0
        while sent < total:
            if sink.body_paused:
                paused_at.append(sent)
                read.set()
                await sink.until(lambda: not sink.body_paused)
            call.write(piece)
            sent += len(piece)
            await asyncio.sleep(0)  # a turn of the loop for what was written
        return sent

    paused_at: list[int] = []
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request(b"POST", length=total if length else None))
        assert total == await upload(call, sink)
        call.finish()
        assert b"hi" == (await sink.done()).body
        assert paused_at[0] < MIB
        assert 1 == pool.stats().idle


@pytest.mark.requirement("H-03")
async def test_a_call_that_ends_paused_leaves_a_connection_that_reads() -> None:
    """The next call on the connection gets its answer though the last one never resumed."""

    async def script(conversation: Conversation) -> None:
        while await conversation.read_request() is not None:
            await conversation.send(OK)

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        for _ in range(3):
            call, sink = await begin(pool, request())
            sink.on["head"] = call.pause_answer
            assert b"hi" == (await sink.done()).body
        assert 1 == b.connections


@pytest.mark.requirement("H-03")
async def test_pausing_twice_is_pausing_once() -> None:
    """`pause_answer` and `resume_answer` say what is wanted, not how often; a doomed call's are harmless."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await paused.wait()
        await conversation.send(OK)
        await conversation.closed()

    paused = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request())
        call.resume_answer()
        call.pause_answer()
        call.pause_answer()
        paused.set()
        call.resume_answer()
        assert b"hi" == (await sink.done()).body
        connection = await pool.acquire()
        connection.abort()
        dead = RecordingSink()
        call = connection.start(request(), dead)
        call.pause_answer()
        call.resume_answer()
        assert ["error"] == (await dead.done()).events
