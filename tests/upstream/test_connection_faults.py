"""What a call reports when its backend is silent, slow, gone, or not HTTP; nothing is left behind."""

import asyncio

import pytest

from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.pool import PoolLimits
from tests.support.network.backend import Conversation, raw_backend, silent
from tests.support.network.recording_sink import RecordingSink, fault_of
from tests.support.network.resets import reset_at_close
from tests.support.network.upstream import NOTHING_LEFT, OK, begin, fetch, pool_for, request

# Invalid answers.


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("cut", [1, 1000])
async def test_an_invalid_answer_is_a_fault_and_ends_the_connection(cut: int) -> None:
    """The call fails as INVALID without a word of the answer, and the connection is not used again."""
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        for i in range(0, len(bad), cut):
            await conversation.send(bad[i : i + cut])
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        sink = await fetch(pool)
        assert ["error"] == sink.events
        assert Fault(FaultKind.INVALID, "a Transfer-Encoding that does not belong there") == sink.fault
        assert NOTHING_LEFT == pool.stats()


@pytest.mark.requirement("H-02")
@pytest.mark.requirement("H-06")
async def test_an_answer_that_turns_invalid_is_broken_off() -> None:
    """A bad chunk size after good content ends in `error`, never in `end`."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await go_on.wait()
        await conversation.send(b"zz\r\n")
        await conversation.closed()

    go_on = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        _, sink = await begin(pool, request())
        await sink.until(lambda: sink.body == b"hi")
        go_on.set()
        assert FaultKind.INVALID == fault_of(await sink.done()).kind
        assert ["head", "data", "error"] == sink.events


@pytest.mark.requirement("H-02")
async def test_a_second_answer_to_one_request_never_answers_the_next() -> None:
    """Data after the end closes the connection: the next call gets another one, and its own answer."""

    async def script(conversation: Conversation) -> None:
        while await conversation.read_request() is not None:
            await conversation.send(OK)
            await ended.wait()
            if conversation.number == 0:
                await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    ended = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        assert b"hi" == (await fetch(pool)).body
        assert 1 == pool.stats().idle
        ended.set()
        await b.until(lambda: not b.open)
        assert NOTHING_LEFT == pool.stats()
        assert b"hi" == (await fetch(pool)).body
        assert 2 == b.connections


@pytest.mark.requirement("H-02")
async def test_an_answer_before_a_request_is_nobodys() -> None:
    """A backend that talks first is not talked to."""

    async def script(conversation: Conversation) -> None:
        await conversation.send(OK)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        connection = await pool.acquire()
        await connection.lost
        sink = RecordingSink()
        connection.start(request(b"POST", length=2), sink, first=b"hi")
        assert [] == sink.events
        assert (FaultKind.STALE, True) == (fault_of(await sink.done()).kind, fault_of(sink).safe_to_resend)
        assert NOTHING_LEFT == pool.stats()


# Broken and stale connections.


@pytest.mark.requirement("H-06")
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b"", "closed before an answer"),
        (b"HTTP/1.1 200 OK\r\nconte", "closed within the head"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "closed within the head"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", "closed within the content"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", "closed within the content"),
    ],
)
async def test_a_backend_that_dies_breaks_the_answer(sent: bytes, detail: str, reset: bool) -> None:
    """Before the end of the answer, a closed or reset connection is BROKEN and not sent again."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(sent)
        if reset:
            await seen.wait()
            conversation.cut()

    seen = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        _, sink = await begin(pool, request())
        if reset:
            await sink.until(lambda: bool(sink.status) or b"ength" not in sent)
            await b.until(lambda: bool(b.requests))
            seen.set()
        fault = fault_of(await sink.done())
        assert (FaultKind.BROKEN, False) == (fault.kind, fault.safe_to_resend)
        assert detail == fault.detail or (reset and not sink.status)
        assert NOTHING_LEFT == pool.stats()


@pytest.mark.requirement("H-06")
async def test_a_reset_does_not_end_a_close_delimited_answer() -> None:
    """Only an orderly end of the stream is the end of such an answer."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await seen.wait()
        reset_at_close(conversation.writer)
        conversation.cut()

    seen = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        _, sink = await begin(pool, request())
        await sink.until(lambda: sink.body == b"half")
        seen.set()
        assert FaultKind.BROKEN == fault_of(await sink.done()).kind


# Cancelling.


@pytest.mark.parametrize("when", ["at once", "in the head", "in the content"])
async def test_a_cancelled_call_says_nothing_more(when: str) -> None:
    """`cancel` closes the connection and silences the call, from within its callbacks as well."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi")
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request())
        if when == "at once":
            call.cancel()
        else:
            sink.on["head" if when == "in the head" else "data"] = call.cancel
            await sink.until(lambda: bool(sink.events))
        await b.until(lambda: b.connections == 1 and not b.open)
        for word in (call.cancel, call.finish, call.pause_answer, call.resume_answer):
            word()
        call.write(b"late")
        expected: dict[str, list[str]] = {
            "at once": [],
            "in the head": ["head"],
            "in the content": ["head", "data"],
        }
        assert expected[when] == sink.events
        assert NOTHING_LEFT == pool.stats()


@pytest.mark.parametrize("event", ["head", "data"])
async def test_cancelling_within_a_complete_answer(event: str) -> None:
    """No `end` follows though the whole answer came in one piece; the connection is not used again."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(OK)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request())
        sink.on[event] = call.cancel
        await b.until(lambda: b.connections == 1 and not b.open)
        assert {"head": ["head"], "data": ["head", "data"]}[event] == sink.events
        assert NOTHING_LEFT == pool.stats()


async def test_a_late_word_about_one_call_does_not_touch_the_next() -> None:
    """A call that is over cannot cancel, pause or write into its successor on the same connection."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(OK)
        second = await conversation.read_request()
        assert second is not None
        assert b"" == second.body
        await go_on.wait()
        await conversation.send(OK)
        assert b"" == await conversation.closed()

    go_on = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        first, sink = await begin(pool, request(b"POST", length=None))
        first.finish()
        await sink.done()
        _, second = await begin(pool, request())
        first.write(b"smuggled")
        first.finish()
        first.pause_answer()
        first.cancel()
        go_on.set()
        assert b"hi" == (await second.done()).body
        assert 1 == b.connections


async def test_closing_the_pool_breaks_a_call_under_way() -> None:
    """The call hears of it, and nothing is left open."""
    async with raw_backend(silent) as b, pool_for(b.upstream, PoolLimits(max_connections=1)) as pool:
        _, sink = await begin(pool, request())
        await pool.aclose()
        assert Fault(FaultKind.BROKEN, "the connection was closed here") == sink.fault
        await b.until(lambda: not b.open)
