"""Answers that end with their head, and a broken backend's content behind them (RFC 9112, 6.3; H-11)."""

import asyncio

import pytest

from bff.upstream.interfaces import UpstreamRequest
from bff.upstream.pool import PoolStats
from tests.support.network.backend import Conversation, Received, Reply, backend, raw_backend
from tests.support.network.upstream import begin, fetch, pool_for, request
from tests.support.wait import until

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood"
EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
GET, HEAD = request(), request(b"HEAD")
NOTHING_OPEN = PoolStats(open=0, idle=0, waiting=0)


@pytest.mark.requirement("H-11", "H-05")
@pytest.mark.parametrize(
    ("asked", "head"),
    [
        (HEAD, b"200 OK\r\ncontent-length: 42\r\n"),
        (HEAD, b"200 OK\r\ntransfer-encoding: chunked\r\n"),
        (HEAD, b"200 OK\r\ncontent-type: text/plain\r\n"),
        (HEAD, b"404 Not Found\r\ncontent-length: 42\r\n"),
        (HEAD, b"304 Not Modified\r\ncontent-length: 42\r\n"),
        (GET, b"204 No Content\r\ncontent-length: 42\r\n"),
        (GET, b"204 No Content\r\ntransfer-encoding: chunked\r\n"),
        (GET, b"204 No Content\r\ncontent-encoding: gzip\r\n"),
        (GET, b"304 Not Modified\r\ncontent-length: 42\r\n"),
        (GET, b"304 Not Modified\r\ntransfer-encoding: chunked\r\n"),
    ],
    ids=range(10),
)
async def test_content_that_comes_late_reaches_nobody(asked: UpstreamRequest, head: bytes) -> None:
    """It looks like an answer, and comes once the next call is under way: that call has its own answer."""
    second = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        if conversation.number:
            second.set()
            await conversation.send(GOOD)
        else:
            await conversation.send(b"HTTP/1.1 " + head + b"\r\n")
            await second.wait()
            await conversation.send(EVIL)
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        first = await fetch(pool, asked)
        assert (["head", "end"], b"") == (first.events, first.body)
        assert NOTHING_OPEN == pool.stats()
        assert b"good" == (await fetch(pool)).body
        assert 2 == b.connections


@pytest.mark.requirement("H-11", "H-05")
@pytest.mark.parametrize("cut", [0, 1, 12, 20, -1], ids=str)
@pytest.mark.parametrize(
    ("asked", "head"),
    [
        (HEAD, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        (HEAD, b"HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\ncontent-length: 42\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n"),
    ],
    ids=range(5),
)
async def test_content_that_comes_with_the_head_is_dropped(
    asked: UpstreamRequest, head: bytes, cut: int
) -> None:
    """The head is the answer, wherever the packets are cut, and the connection carries nothing more."""
    data = head + EVIL
    at = len(head) if cut < 0 else cut
    read_on = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        if conversation.number:
            await conversation.send(GOOD)
        else:
            await conversation.send(data[:at])
            if 0 < at < len(head):
                await read_on.wait()
            await conversation.send(data[at:])
        await conversation.closed()

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        _, first = await begin(pool, asked)
        connection = next(iter(pool._open))
        await until(lambda: connection._answered)
        read_on.set()
        await first.done()
        assert (["head", "end"], b"") == (first.events, first.body)
        await connection.lost
        assert b"good" == (await fetch(pool)).body
        assert 2 == b.connections


@pytest.mark.requirement("H-05")
async def test_answers_that_promise_nothing_leave_the_connection_usable() -> None:
    """HEAD with a length of 0, and a 204 or 304 without framing, are the end beyond doubt."""

    async def answer(asked: Received) -> Reply | bytes:
        if asked.method == b"HEAD":
            return Reply()
        return b"HTTP/1.1 %b X\r\n\r\n" % asked.target[1:]

    async with backend(answer) as b, pool_for(b.upstream) as pool:
        for asked in (HEAD, request(target=b"/204"), request(target=b"/304"), HEAD):
            assert ["head", "end"] == (await fetch(pool, asked)).events
        assert 1 == b.connections


@pytest.mark.requirement("H-05")
async def test_a_304_keeps_the_length_that_it_states() -> None:
    """It tells the size of what the client has (RFC 9110, 8.6); one that can be read two ways is dropped."""
    both = b"content-length: 7\r\ntransfer-encoding: chunked\r\n"
    lengths = {
        b"/both": both,
        b"/one": b"content-length: 7\r\n",
        b"/two": b"content-length: 7\r\ncontent-length: 8\r\n",
    }

    async def answer(asked: Received) -> bytes:
        return b"HTTP/1.1 304 Not Modified\r\n" + lengths[asked.target] + b"\r\n"

    async with backend(answer) as b, pool_for(b.upstream) as pool:
        assert [(b"content-length", b"7")] == (await fetch(pool, request(target=b"/one"))).headers
        assert [] == (await fetch(pool, request(target=b"/two"))).headers
        assert [] == (await fetch(pool, request(target=b"/both"))).headers
