"""One backend connection: requests out, answers in, and when it is used again."""

import asyncio

import pytest

from bff.upstream.backend_call import CallTimeouts
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.pool import PoolStats
from bff.upstream.request_writer import UnsafeRequestError
from tests.support.network.backend import Backend, Conversation, Received, Reply, backend, raw_backend
from tests.support.network.recording_sink import RecordingSink
from tests.support.network.upstream import begin, fetch, pool_for, request

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def hello(asked: Received) -> Reply:
    return Reply(headers=[(b"x-path", asked.target)], body=b"hello " + asked.body)


async def test_requests_in_turn_share_a_connection() -> None:
    """A cleanly ended call leaves a connection that carries the next one."""
    async with backend(hello) as b, pool_for(b.upstream) as pool:
        for i in range(3):
            sink = await fetch(pool, request(target=b"/%d" % i, headers=[(b"x", b"y")]))
            assert (200, b"hello ") == (sink.status, sink.body)
            assert [(b"x-path", b"/%d" % i), (b"content-length", b"6")] == sink.headers
            assert ["head", "data", "end"] == sink.events
        assert 1 == b.connections
        assert b"GET /2 HTTP/1.1\r\nhost: backend\r\nx: y\r\n\r\n" == b.requests[2].raw_head
        assert PoolStats(open=1, idle=1, waiting=0) == pool.stats()


async def test_the_next_call_can_start_within_the_end_of_the_last() -> None:
    """`end` is the connection's last word: its sink may start the next call from there."""
    async with backend(hello) as b, pool_for(b.upstream) as pool:
        second = RecordingSink()

        def go_on() -> None:
            connection = pool.acquire_nowait()
            assert connection is not None
            connection.start(request(target=b"/second"), second)

        _, first = await begin(pool, request(target=b"/first"))
        first.on["end"] = go_on
        assert [(b"x-path", b"/second")] == (await second.done()).headers[:1]
        assert 1 == b.connections


@pytest.mark.requirement("H-05")
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_every_framing_arrives_whole(framing: str) -> None:
    """Content is the same however it was delimited; only a close-delimited answer ends the connection."""
    pieces = [b"one", b"two" * 30_000, b"three"]

    async def answer(_: Received) -> Reply:
        return Reply(body=pieces, framing=framing)

    async with backend(answer) as b, pool_for(b.upstream) as pool:
        for _ in range(2):
            sink = await fetch(pool)
            assert (b"".join(pieces), "end") == (sink.body, sink.events[-1])
        assert (2 if framing == "close" else 1) == b.connections


@pytest.mark.requirement("H-05")
async def test_interim_answers_go_no_further() -> None:
    """A 103 and a 100 that nobody asked for are read over."""
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"

    async def answer(_: Received) -> Reply:
        return Reply(interim=[b"HTTP/1.1 100 Continue\r\n\r\n", interim, interim])

    async with backend(answer) as b, pool_for(b.upstream) as pool:
        sink = await fetch(pool)
        assert ["head", "end"] == sink.events


@pytest.mark.parametrize(
    "reply", [Reply(close=True, body=b"x"), b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"]
)
async def test_a_connection_that_the_backend_ends_is_not_kept(reply: Reply | bytes) -> None:
    """`Connection: close` and HTTP/1.0 end the connection with the answer."""

    async def answer(_: Received) -> Reply | bytes:
        return reply

    async with backend(answer) as b, pool_for(b.upstream) as pool:
        for _ in range(2):
            assert b"x" == (await fetch(pool)).body
            assert 0 == pool.stats().open
        assert 2 == b.connections


# Request bodies.


@pytest.mark.parametrize("length", [9, None])
async def test_bodies_arrive_whole(length: int | None) -> None:
    """With a length or chunked, at once or in pieces; the end of a known length needs no `finish`."""
    async with backend(hello) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request(b"POST", length=length), b"abc")
        for piece in (b"", b"def", b"ghi"):
            call.write(piece)
        if length is None:
            call.finish()
        call.finish()
        assert b"hello abcdefghi" == (await sink.done()).body
        assert b"hello abcdefghi" == (await fetch(pool, request(b"PUT", length=9), b"abcdefghi")).body
        assert 1 == b.connections


async def test_head_and_small_body_leave_in_one_piece() -> None:
    """What is at hand goes with the head: one packet, not two."""
    first = bytearray()

    async def script(conversation: Conversation) -> None:
        first.extend(await conversation.reader.read(65536))
        await conversation.send(OK)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        await fetch(pool, request(b"POST", length=3), b"abc")
        assert first.endswith(b"\r\n\r\nabc")


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(
    ("length", "pieces", "finish", "detail"),
    [
        (3, (b"abcd", b""), False, "longer"),
        (3, (b"ab", b"cd"), False, "longer"),
        (3, (b"ab", b""), True, "shorter"),
        (0, (b"a", b""), False, "longer"),
    ],
)
async def test_a_body_of_another_length_never_becomes_a_second_request(
    length: int, pieces: tuple[bytes, bytes], finish: bool, detail: str
) -> None:
    """More or less than announced breaks the connection; the call fails once its caller has returned."""
    seen = bytearray()

    async def script(conversation: Conversation) -> None:
        seen.extend(await conversation.closed())

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request(b"POST", length=length), pieces[0])
        call.write(pieces[1])
        if finish:
            call.finish()
        call.write(b"more")
        assert [] == sink.events
        fault = Fault(FaultKind.BROKEN, f"the request's body is {detail} than announced")
        assert fault == (await sink.done()).fault
        assert 0 == pool.stats().open
        await b.until(lambda: not b.open)
        assert b"more" not in seen
        assert not seen.endswith(b"0\r\n\r\n")


async def test_an_unsafe_request_leaves_the_connection_unharmed() -> None:
    """A head that must not be written costs nothing: the connection is idle again."""
    async with backend(hello) as b, pool_for(b.upstream) as pool:
        connection = await pool.acquire()
        with pytest.raises(UnsafeRequestError):
            connection.start(request(target=b"/a b"), RecordingSink())
        assert PoolStats(open=1, idle=1, waiting=0) == pool.stats()
        assert 200 == (await fetch(pool)).status
        assert 1 == b.connections


# An answer before the body has left.


@pytest.mark.parametrize("length", [1000, None])
async def test_an_early_refusal_stops_the_body(length: int | None) -> None:
    """An error before the body's end is passed on, nothing more is sent, and the connection is not kept."""
    seen = bytearray()

    async def script(conversation: Conversation) -> None:
        assert await conversation.read_head() is not None
        await conversation.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nfu")
        await answered.wait()
        await conversation.send(b"ll")
        seen.extend(await conversation.closed())

    answered = asyncio.Event()
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request(b"POST", length=length), b"abc")
        await sink.until(lambda: sink.size == 2)
        call.write(b"late")
        call.finish()
        answered.set()
        assert (413, b"full", "end") == ((await sink.done()).status, sink.body, sink.events[-1])
        assert 0 == pool.stats().open
        await b.until(lambda: not b.open)
        assert b"late" not in seen
        assert not seen.endswith(b"0\r\n\r\n")


async def test_a_backend_may_answer_while_it_reads() -> None:
    """A success that begins early does not stop the body: both directions flow."""

    async def script(conversation: Conversation) -> None:
        while (head := await conversation.read_head()) is not None:
            await conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n")
            body = await conversation.read_body(head)
            await conversation.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        for _ in range(2):
            call, sink = await begin(pool, request(b"POST", length=None))
            await sink.until(lambda: sink.size == 3)  # noqa: B023 - awaited before the next round
            call.write(b" and more")
            call.finish()
            assert b"yes and more" == (await sink.done()).body
        assert 1 == b.connections


async def test_an_early_end_means_that_the_connection_is_not_kept() -> None:
    """A whole answer before the body's end: the call is over, and what comes of the body goes nowhere."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(OK)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request(b"POST", length=10))
        assert b"hi" == (await sink.done()).body
        call.write(b"0123456789")
        assert 0 == pool.stats().open


# Expect: 100-continue.


async def expecting(
    b: Backend, *, length: int | None = 6, go_ahead: float = 60.0
) -> tuple[RecordingSink, list[str]]:
    async with pool_for(b.upstream) as pool:
        timeouts = CallTimeouts(go_ahead=go_ahead)
        call, sink = await begin(pool, request(b"POST", length=length, expect=True), b"abc", timeouts)
        assert sink.body_paused
        call.write(b"def")
        call.finish()
        await sink.done()
        return sink, sink.events


@pytest.mark.parametrize("length", [6, None])
async def test_the_body_waits_for_the_hundred(length: int | None) -> None:
    """Nothing of the body leaves before the 100; then all of it does, in order."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.read_head()
        assert head is not None
        assert [b"100-continue"] == head.values(b"expect")
        assert not conversation.reader._buffer  # type: ignore[attr-defined] # what has arrived beyond the head
        await conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert b"abcdef" == await conversation.read_body(head)
        await conversation.send(OK)
        await conversation.closed()

    async with raw_backend(script) as b:
        _, events = await expecting(b, length=length)
        assert ["pause_body", "head", "data", "end"] == events


async def test_the_sink_goes_on_after_the_hundred() -> None:
    """The 100 resumes a body of which something is left."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.read_head()
        assert head is not None
        await conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert b"abcdef" == await conversation.read_body(head)
        await conversation.send(OK)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request(b"POST", length=6, expect=True), b"abc")
        await sink.until(lambda: "resume_body" in sink.events)
        call.write(b"def")
        assert b"hi" == (await sink.done()).body
        assert ["pause_body", "resume_body", "head", "data", "end"] == sink.events
        assert 1 == pool.stats().idle


@pytest.mark.parametrize("go_ahead", [0.05, 0.0])
async def test_the_body_goes_when_no_hundred_comes(go_ahead: float) -> None:
    """A backend that does not know Expect gets the body after the wait, if any (RFC 9110, 10.1.1)."""
    async with backend(hello) as b:
        sink, _ = await expecting(b, go_ahead=go_ahead)
        assert b"hello abcdef" == sink.body


@pytest.mark.requirement("T-11")
@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("status", [200, 401, 403])
async def test_a_final_answer_instead_of_the_hundred_spares_the_body(status: int, whole: bool) -> None:
    """Nothing of the body is sent; the connection ends: what follows would be taken for the body."""
    seen = bytearray()

    async def script(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)
        seen.extend(await conversation.closed())

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        timeouts = CallTimeouts(go_ahead=60.0)
        asked = request(b"POST", length=6, expect=True)
        _, sink = await begin(pool, asked, b"abcdef" if whole else b"abc", timeouts)
        assert (status, "end") == ((await sink.done()).status, sink.events[-1])
        assert "resume_body" not in sink.events
        assert 0 == pool.stats().open
        await b.until(lambda: not b.open)
        assert b"" == seen
