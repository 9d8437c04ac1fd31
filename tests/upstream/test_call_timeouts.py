"""How long a backend may keep a call waiting, at each stage; a slow client's time is its own (H-08)."""

import asyncio

import pytest

from bff.upstream.backend_call import CallTimeouts
from bff.upstream.interfaces import Fault, FaultKind
from tests.support.network.backend import Conversation, Received, Reply, backend, raw_backend
from tests.support.network.recording_sink import RecordingSink, fault_of
from tests.support.network.upstream import NOTHING_LEFT, OK, begin, fetch, pool_for, request

LONG = 3600.0
SHORT = 0.05


async def timed_out(
    timeouts: CallTimeouts, answer: bytes = b"", length: int | None = 0, first: bytes = b""
) -> RecordingSink:
    async def script(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(answer)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        sink = await fetch(pool, request(b"POST", length=length), first, timeouts)
        assert NOTHING_LEFT == pool.stats()
        assert FaultKind.TIMEOUT == fault_of(sink).kind
        await b.until(lambda: not b.open)
        return sink


@pytest.mark.requirement("H-08")
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_a_backend_that_does_not_answer(answer: bytes) -> None:
    """Without a whole head within `first_byte` the call ends, whatever else has come."""
    limits = CallTimeouts(first_byte=SHORT, between_bytes=LONG, write=LONG, total=LONG)
    assert "first byte" == fault_of(await timed_out(limits, answer)).detail


@pytest.mark.requirement("H-08")
async def test_a_backend_that_falls_silent() -> None:
    """A gap within the content is bounded by `between_bytes`, where a longer wait came before too."""
    limits = CallTimeouts(first_byte=LONG, between_bytes=SHORT, write=LONG)
    sink = await timed_out(limits, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi")
    assert (["head", "data", "error"], "between bytes") == (sink.events, fault_of(sink).detail)


@pytest.mark.requirement("H-08")
async def test_a_backend_that_takes_no_body() -> None:
    """A body of which nothing is taken within `write` ends the call."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_head()
        await over.wait()

    over = asyncio.Event()
    body = b"x" * 20_000_000
    limits = CallTimeouts(first_byte=LONG, write=0.3, total=LONG)
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        sink = await fetch(pool, request(b"POST", length=len(body)), body, limits)
        assert Fault(FaultKind.TIMEOUT, "write") == sink.fault
        assert NOTHING_LEFT == pool.stats()
        over.set()


@pytest.mark.requirement("H-08")
async def test_the_whole_call_is_bounded() -> None:
    """`total` ends a call that is otherwise in good order: here one whose client sends nothing."""
    limits = CallTimeouts(first_byte=LONG, between_bytes=LONG, write=LONG, total=SHORT)
    assert "total" == fault_of(await timed_out(limits, length=5)).detail


@pytest.mark.requirement("H-08")
async def test_a_slow_client_is_not_the_backends_fault() -> None:
    """While the body is awaited, or the answer is not being read, no time runs against the backend."""
    size = 5_000_000

    async def answer(asked: Received) -> Reply:
        return Reply(body=asked.body + b"x" * size)

    limits = CallTimeouts(first_byte=0.9, between_bytes=0.9, write=0.9)
    async with backend(answer) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request(b"POST", length=2), b"a", limits)
        await asyncio.sleep(1)  # the passing of time is what is tested
        assert [] == sink.events
        call.write(b"b")
        await sink.until(lambda: sink.size > 0)
        call.pause_answer()
        await asyncio.sleep(1)  # as above
        assert not sink.over
        call.resume_answer()
        assert size + 2 == len((await sink.done()).body)
        assert "end" == sink.events[-1]


async def test_progress_keeps_a_slow_upload_alive() -> None:
    """`write` bounds the time without progress, not the time of the upload."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.read_head()
        assert head is not None
        left = size
        while left:
            left -= len(await conversation.reader.read(200_000))
            await asyncio.sleep(0.02)  # a slow reader is what is tested
        await conversation.send(OK)
        await conversation.closed()

    size = 12_000_000
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        started = asyncio.get_running_loop().time()
        limits = CallTimeouts(write=1.0)
        call, sink = await begin(pool, request(b"POST", length=size), b"x" * 1_000_000, limits)
        assert sink.body_paused
        call.write(b"x" * (size - 1_000_000))  # what was on its way when the pause was said still counts
        assert 200 == (await sink.done()).status, sink.fault
        assert asyncio.get_running_loop().time() - started > 1.0


async def test_one_timer_serves_all_calls_of_a_connection() -> None:
    """Calls in turn neither make timers of their own nor end by one another's."""

    async def answer(_: Received) -> Reply:
        return Reply(body=b"x")

    async with backend(answer) as b, pool_for(b.upstream) as pool:
        await fetch(pool)
        connection = pool.acquire_nowait()
        assert connection is not None
        timer = connection._timer
        assert timer is not None
        connection.put_back()
        for _ in range(5):
            await fetch(pool)
            assert timer is connection._timer
        await fetch(pool, timeouts=CallTimeouts(first_byte=0.01))
        connection._ring()  # as it does when nothing is under way
        assert 200 == (await fetch(pool)).status
