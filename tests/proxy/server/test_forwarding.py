"""Forwarded calls over the server protocol, and how they share a connection with the application's."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(redis_server) as world:
        yield world


def head(world: World, browser: Browser, line: str, *more: str) -> bytes:
    host = world.url.partition("//")[2]
    fields = [line, f"Host: {host}", "X-CSRF: 1", f"Cookie: bff={browser.handle}", *more, "", ""]
    return "\r\n".join(fields).encode()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One answer with a length, or without a body."""
    raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = raw.split("\r\n")[:-2]
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return int(first.split()[1]), fields, body


@pytest.mark.requirement("H-02")
async def test_pipelined_requests_of_all_kinds_are_answered_in_order(world: World) -> None:
    """Ten requests in one write, for routes, endpoints and nowhere: each its answer, in order."""

    async def slow_first(request: Received) -> Reply:
        if request.target == b"/0":
            await asyncio.sleep(0.05)
        return Reply(body=request.target + request.body)

    world.reply = slow_first
    browser = await world.signed_in()
    requests = []
    for number in range(0, 10, 2):
        requests += [
            head(world, browser, f"POST /api/{number} HTTP/1.1", "Content-Length: 5")
            + b"body"
            + b"%d" % number,
            head(world, browser, f"GET /bff/{'user' if number < 6 else 'none'} HTTP/1.1"),
        ]
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(b"".join(requests))
    answers = [await read_answer(reader) for _ in requests]
    writer.close()
    assert [b"/%dbody%d" % (number, number) for number in range(0, 10, 2)] == [a[2] for a in answers[::2]]
    assert [200, 200, 200, 404, 404] == [status for status, _, _ in answers[1::2]]
    assert all(b'"sub"' in body for _, _, body in answers[1:6:2])


async def test_a_client_that_waits_is_told_to_go_ahead(world: World) -> None:
    """`Expect: 100-continue` is answered when the body is wanted, and only then."""
    browser = await world.signed_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(head(world, browser, "POST /api/x HTTP/1.1", "Content-Length: 4", "Expect: 100-continue"))
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == await reader.readuntil(b"\r\n\r\n")
    writer.write(b"body")
    assert 200 == (await read_answer(reader))[0]
    assert b"body" == world.backend.requests[0].body
    writer.write(head(world, browser, "POST /other HTTP/1.1", "Content-Length: 4", "Expect: 100-continue"))
    assert 404 == (await read_answer(reader))[0]
    writer.close()


async def test_a_refused_body_does_not_reach_the_next_request(world: World) -> None:
    """An answer before the body has come: the rest of it is thrown away, and what follows is served."""
    browser = await world.signed_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    refused = head(world, browser, "PROPFIND /api/x HTTP/1.1", "Content-Length: 28")
    writer.write(refused + b"GET /api/smuggled HTTP/1.1\r\n" + head(world, browser, "GET /api/next HTTP/1.1"))
    assert 405 == (await read_answer(reader))[0]
    assert 200 == (await read_answer(reader))[0]
    assert [b"/next"] == [request.target for request in world.backend.requests]
    writer.close()


async def test_connection_close_is_honoured(world: World) -> None:
    """A client that asks for it gets `Connection: close`, the whole answer, and the end."""
    browser = await world.signed_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(head(world, browser, "GET /api/x HTTP/1.1", "Connection: close"))
    status, fields, body = await read_answer(reader)
    assert (200, "close", b'{"orders":[]}') == (status, fields["connection"], body)
    assert b"" == await reader.read()
    writer.close()


@pytest.mark.requirement("H-03", "H-08")
async def test_a_client_that_does_not_read_stops_the_backend(world: World) -> None:
    """A hundred megabytes for a client that reads nothing: the backend is stopped after a few."""
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1600):
            sent += 65536
            yield b"x" * 65536

    async def flood(_: Received) -> Reply:
        return Reply(body=pieces(), framing="chunked")

    world.reply = flood
    browser = await world.signed_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=2**16)
    writer.write(head(world, browser, "GET /api/flood HTTP/1.1"))
    await until(lambda: sent > 0)
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.2)
    assert sent < 30_000_000
    total = 0
    while total < 100_000_000:
        total += len(await reader.read(2**20))
    writer.transport.abort()
    _, pool = world.app.shared.pools.all()[0]
    await until(lambda: pool.stats().open == 0 or pool.stats().idle == pool.stats().open)


@pytest.mark.requirement("H-06")
async def test_a_broken_answer_ends_the_connection(world: World) -> None:
    """In chunks: the last one never comes. The connection is not used again."""

    async def dying(_: Received) -> Reply:
        return Reply(body=[b"half", b"never"], framing="chunked", cut_after=1)

    world.reply = dying
    browser = await world.signed_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(head(world, browser, "GET /api/x HTTP/1.1") * 2)
    answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.endswith(b"4\r\nhalf\r\n")
    writer.close()


async def test_a_short_chunked_body_that_is_here_is_not_announced(world: World) -> None:
    """The whole body is here before a connection to the backend is: nothing waits for a go-ahead."""
    browser = await world.signed_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    request = head(world, browser, "POST /api/x HTTP/1.1", "Transfer-Encoding: chunked")
    writer.write(request + b"4\r\nbody\r\n0\r\n\r\n")
    assert 200 == (await read_answer(reader))[0]
    last = world.backend.requests[-1]
    assert (b"body", []) == (last.body, last.values(b"expect"))
    writer.close()
