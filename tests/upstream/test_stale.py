"""When a request on a kept connection may be sent again (RFC 9110, 9.2.2 and 15.5.9; H-07)."""

import asyncio

import pytest

from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.stale_connection import sent_again
from tests.support.network.backend import Conversation, raw_backend, silent
from tests.support.network.recording_sink import RecordingSink, fault_of
from tests.support.network.upstream import NOTHING_LEFT, OK, fetch, pool_for, request

TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate"


@pytest.mark.requirement("H-07")
@pytest.mark.parametrize(
    ("method", "safe"),
    [(b"GET", True), (b"HEAD", True), (b"PUT", True), (b"DELETE", True), (b"POST", False), (b"PATCH", False)],
)
async def test_a_kept_connection_that_ends_without_an_answer_is_stale(method: bytes, safe: bool) -> None:
    """It may be sent again if the method is idempotent; the request was written and may have been read."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(OK)
        await conversation.read_request()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        await fetch(pool)
        sink = await fetch(pool, request(method, length=2), b"hi")
        assert (FaultKind.STALE, safe) == (fault_of(sink).kind, fault_of(sink).safe_to_resend)
        assert NOTHING_LEFT == pool.stats()
        assert 1 == b.connections


@pytest.mark.requirement("H-07")
async def test_one_byte_of_an_answer_and_it_is_not_stale() -> None:
    """Once the backend has begun to answer, nothing is sent again."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(OK)
        await conversation.read_request()
        await conversation.send(b"H")

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        await fetch(pool)
        fault = fault_of(await fetch(pool))
        assert (FaultKind.BROKEN, False) == (fault.kind, fault.safe_to_resend)


@pytest.mark.requirement("H-07")
async def test_a_connection_that_closed_while_idle_is_not_handed_out() -> None:
    """The pool notices, and the next call connects anew."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(OK)
        await close.wait()

    close = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        await fetch(pool)
        close.set()
        connection = next(iter(pool._open))
        await connection.lost
        assert NOTHING_LEFT == pool.stats()
        assert 200 == (await fetch(pool)).status


@pytest.mark.requirement("H-07")
async def test_what_was_never_written_can_always_be_sent_again() -> None:
    """A connection that closed between being acquired and used is STALE and safe, for a POST as well."""
    async with raw_backend(silent) as b, pool_for(b.upstream) as pool:
        connection = await pool.acquire()
        b.cut_all()
        await connection.lost
        sink = RecordingSink()
        call = connection.start(request(b"POST", length=3), sink, first=b"abc")
        call.finish()
        fault = fault_of(await sink.done())
        assert (FaultKind.STALE, True) == (fault.kind, fault.safe_to_resend)
        late = RecordingSink()
        connection.start(request(), late).cancel()
        await asyncio.sleep(0)
        assert [] == late.events


async def second_answer(answer: bytes, method: bytes = b"GET", body: bytes = b"") -> RecordingSink:
    """What a call gets on a connection that has carried one before."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(OK)
        await conversation.read_request()
        await conversation.send(answer)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        await fetch(pool)
        sink = await fetch(pool, request(method, length=len(body)), body)
        assert 1 == b.connections
        return sink


@pytest.mark.requirement("H-07")
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
async def test_a_408_that_crossed_the_request_is_stale(method: bytes) -> None:
    """The backend tired of the idle connection while the request was on its way: it can be sent again."""
    sink = await second_answer(TIMED_OUT if method != b"HEAD" else TIMED_OUT[:-4], method)
    assert (FaultKind.STALE, True) == (fault_of(sink).kind, fault_of(sink).safe_to_resend)
    assert ["error"] == sink.events


@pytest.mark.requirement("H-07")
@pytest.mark.parametrize(
    ("answer", "method", "body"),
    [
        (TIMED_OUT, b"POST", b""),  # may not be sent again
        (TIMED_OUT, b"PUT", b"slow"),  # may speak of the body
        (TIMED_OUT.replace(b"Connection: close\r\n", b""), b"GET", b""),  # the backend goes on
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + TIMED_OUT, b"GET", b""),  # it has read the request
    ],
)
async def test_any_other_408_is_an_answer(answer: bytes, method: bytes, body: bytes) -> None:
    """It is passed on where it may be about the request itself."""
    sink = await second_answer(answer, method, body)
    assert (408, b"late", "end") == (sink.status, sink.body, sink.events[-1])


@pytest.mark.requirement("H-07")
async def test_a_408_on_a_new_connection_is_an_answer() -> None:
    """Nobody was idle there."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(TIMED_OUT)

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        assert 408 == (await fetch(pool)).status


@pytest.mark.requirement("H-07")
async def test_a_408_to_an_idle_connection_ends_it() -> None:
    """Said while nothing is under way it answers nobody, and the connection is not handed out again."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(OK)
        await tired.wait()
        await conversation.send(TIMED_OUT if conversation.number == 0 else b"")
        await conversation.closed()

    tired = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        await fetch(pool)
        connection = next(iter(pool._open))
        tired.set()
        await connection.lost
        assert NOTHING_LEFT == pool.stats()
        assert b"hi" == (await fetch(pool)).body


@pytest.mark.requirement("H-07")
@pytest.mark.parametrize(
    ("expected", "fault", "repeats"),
    [
        (True, Fault(FaultKind.STALE, "", safe_to_resend=True), 0),
        (False, Fault(FaultKind.STALE, "", safe_to_resend=True), 1),
        (False, Fault(FaultKind.STALE, ""), 0),
        (False, Fault(FaultKind.BROKEN, ""), 0),
    ],
)
def test_a_call_is_sent_again_once(expected: bool, fault: Fault, repeats: int) -> None:
    """A backend that closes one connection after the other is not asked a third time."""
    assert expected is sent_again(fault, repeats)
