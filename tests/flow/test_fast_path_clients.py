"""Plain calls, and what a client can do: leave, read nothing, pipeline, be several users, or mean harm."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.support.load.warm import (
    Caller,
    Plain,
    idle_connections,
    nothing_is_left,
    pool,
    warm_caller,
    watched,
)
from tests.support.network.backend import Conversation, Received, Reply
from tests.support.processes.world import World
from tests.support.wait import until

REFUSED = "GET /api/%2e/orders HTTP/1.1"
"""A request that is answered at once, with a 400 after which the connection goes on."""


class Gate:
    """A backend that answers with the request's target, the slow ones when it is opened."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opened = asyncio.Event()
        world.reply = self.reply

    async def reply(self, request: Received) -> Reply:
        if request.target.startswith(b"/slow"):
            await self.opened.wait()
        return Reply(body=request.target)

    @property
    def asked(self) -> list[bytes]:
        return [request.target for request in self.world.backend.requests]

    async def reached(self, target: bytes, times: int = 1) -> None:
        await until(lambda: self.asked.count(target) >= times)


SLOW = "GET /api/slow HTTP/1.1"


async def slow_and_warm(plain: Plain, gate: Gate, *callers: Caller) -> None:
    """The next call like `SLOW` of these callers is plain, and hangs."""
    gate.opened.set()
    for caller in callers:
        await caller.plain(plain, SLOW)
    gate.opened.clear()


async def asked_for(world: World, requests: int) -> None:
    await until(lambda: len(world.backend.requests) == requests)


async def backend_is_left(world: World, kept: Conversation) -> None:
    await until(lambda: kept not in world.backend.open or kept.reader.at_eof())


# Clients that leave, and servers that stop


@pytest.mark.requirement("H-08", "H-09")
async def test_clients_that_leave(world: World, plain: Plain) -> None:
    """Whether by a reset or by a close: the backend's call is cancelled, once, and the pool is right."""
    gate = Gate(world)
    browser = await world.signed_in()
    for leave in (Caller.leave, Caller.close):
        caller = await Caller.connected(world, browser)
        await slow_and_warm(plain, gate, caller)
        before, seen = plain.fell_back, gate.asked.count(b"/slow")
        (kept,) = world.backend.open
        with capture_logs() as lines:
            caller.writer.write(caller.head(SLOW))
            await gate.reached(b"/slow", seen + 1)
            leave(caller)
            await backend_is_left(world, kept)
            await nothing_is_left(world)
        assert (0, before + 1) == (pool(world).open, plain.fell_back)
        assert [499] == [line["status"] for line in lines if line["event"] == "request"]
        gate.opened.set()
        await until(lambda: not world.backend.open)
        assert seen + 1 == gate.asked.count(b"/slow")


@pytest.mark.requirement("H-09")
async def test_a_graceful_stop(world: World, plain: Plain) -> None:
    """A plain call under way is answered with `Connection: close`; an idle connection is closed."""
    gate = Gate(world)
    browser = await world.signed_in()
    caller, idle = [await Caller.connected(world, browser) for _ in range(2)]
    await slow_and_warm(plain, gate, caller, idle)
    seen = gate.asked.count(b"/slow")
    caller.writer.write(caller.head(SLOW))
    await gate.reached(b"/slow", seen + 1)
    stopping = asyncio.create_task(world.stop_proxy())  # noqa: TID251 - awaited below
    assert b"" == await idle.rest()
    gate.opened.set()
    answer = await caller.answer()
    assert (200, b"/slow", ["close"]) == (answer.status, answer.content, answer.values("connection"))
    assert b"" == await caller.rest()
    await stopping


# Heads and their pieces


@pytest.mark.requirement("H-02")
async def test_pieces_and_pipelines(world: World, plain: Plain) -> None:
    """However the bytes are cut: each request gets its answer, in order, from the backend that it asked."""
    gate = Gate(world)
    gate.opened.set()
    caller = await warm_caller(world)
    await caller.plain(plain)
    one = caller.head()
    post = caller.head("POST /api/upload HTTP/1.1", "Content-Length: 5") + b"hello"
    own = caller.head("GET /bff/none HTTP/1.1")
    head = caller.head("HEAD /api/orders HTTP/1.1")
    cases: list[tuple[list[bytes], list[tuple[int, bytes]]]] = [
        ([one[:10], one[10:]], [(200, b"/orders")]),
        ([one[:-1], one[-1:]], [(200, b"/orders")]),
        ([b"\r\n", one], [(200, b"/orders")]),
        ([one + one], [(200, b"/orders")] * 2),
        ([one + one[:40], one[40:]], [(200, b"/orders")] * 2),
        ([one, one[:40], one[40:] + one], [(200, b"/orders")] * 3),
        ([one + post], [(200, b"/orders"), (200, b"/upload")]),
        ([one, post[:-5], b"hel", b"lo"], [(200, b"/orders"), (200, b"/upload")]),
        ([one + post + one], [(200, b"/orders"), (200, b"/upload"), (200, b"/orders")]),
        ([one, own], [(200, b"/orders"), (404, b"")]),
        ([one + own + one], [(200, b"/orders"), (404, b""), (200, b"/orders")]),
        ([caller.head(REFUSED) + one, one], [(400, b""), (200, b"/orders"), (200, b"/orders")]),
        ([one + head[:-2], b"\r\n"], [(200, b"/orders"), (0, b"")]),
        ([one * 20], [(200, b"/orders")] * 20),
    ]
    for number, (pieces, expected) in enumerate(cases):
        await caller.plain(plain)
        for piece in pieces:
            caller.writer.write(piece)
            await asyncio.sleep(0.004)
        for status, content in expected:
            answer = await caller.answer(with_content=status != 0)
            assert (status or 200) == answer.status, number
            assert answer.content.startswith(b"{") or content == answer.content, number
    assert all(b"hello" == found.body for found in world.backend.requests if found.target == b"/upload")
    await nothing_is_left(world)


@pytest.mark.requirement("H-02")
async def test_no_answer_overtakes_another(world: World, plain: Plain) -> None:
    """Behind a request that is refused at once, another waits for its answer: the next one waits too."""
    gate = Gate(world)
    caller = await warm_caller(world)
    await idle_connections(world, 3)
    await caller.plain(plain)
    before = plain.sent
    caller.writer.write(caller.head(REFUSED) + caller.head(SLOW))
    assert 400 == (await caller.answer()).status
    await gate.reached(b"/slow")
    caller.writer.write(caller.head())
    caller.writer.write(caller.head(REFUSED) + caller.head())
    await asyncio.sleep(0.05)  # in which the backend would have answered
    gate.opened.set()
    answers = [await caller.answer() for _ in range(4)]
    assert [(200, b"/slow"), (200, b"/orders")] == [(found.status, found.content) for found in answers[:2]]
    assert [400, 200] == [answer.status for answer in answers[2:]]
    assert before == plain.sent


@pytest.mark.requirement("H-02")
async def test_no_body_is_taken_for_a_request(world: World, plain: Plain) -> None:
    """A body that looks like the next request, behind one that was refused at once, stays a body."""
    Gate(world)
    caller = await warm_caller(world)
    await idle_connections(world, 3)
    await caller.plain(plain)
    smuggled = caller.head("GET /api/orders HTTP/1.1")
    for length in (f"Content-Length: {len(smuggled)}", "Transfer-Encoding: chunked"):
        post = caller.head("POST /api/upload HTTP/1.1", length)
        before = len(world.backend.requests)
        caller.writer.write(caller.head(REFUSED) + post)
        assert 400 == (await caller.answer()).status
        await asyncio.sleep(0.02)
        if "chunked" in length:
            caller.writer.write(b"%x\r\n" % len(smuggled))
            await asyncio.sleep(0.02)
        caller.writer.write(smuggled)
        if "chunked" in length:
            await asyncio.sleep(0.02)
            caller.writer.write(b"\r\n0\r\n\r\n")
        assert b"/upload" == (await caller.answer()).content
        asked = world.backend.requests[before:]
        assert [(b"/upload", smuggled)] == [(found.target, found.body) for found in asked]
        await caller.plain(plain)


# Clients that read slowly


@pytest.mark.requirement("H-03", "H-08")
async def test_answers_that_nobody_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes of requests, megabytes of answers: one of them waits here at most; all come in the end."""
    size, many = 200_000, 100

    async def large(_: Received) -> Reply:
        return Reply(body=b"%09d" % len(world.backend.requests) + bytes(size - 9))

    browser = await world.signed_in()
    with watched(monkeypatch) as made:
        caller = await Caller.connected(world, browser, receive_buffer=4096)
        protocol = made[-1]
        await caller.warm()
        world.reply = large
        before = len(world.backend.requests)
        sent = 0
        while not protocol._flow.write_paused and sent < many:
            caller.writer.write(caller.head())
            sent += 1
            await asked_for(world, before + sent)
            await asyncio.sleep(0.01)
        for _ in range(5):  # one at a time, though nothing is held
            caller.writer.write(caller.head())
            await asyncio.sleep(0.01)
        caller.writer.write(caller.head() * (many - sent - 5))
        waiting = protocol.transport.get_write_buffer_size
        asked = -1
        while asked != len(world.backend.requests):
            asked = len(world.backend.requests)
            await asyncio.sleep(0.1)
            assert waiting() < 4 * size
        assert asked - before < many / 2
        for number in range(many):
            answer = await caller.answer()
            assert (size, b"%09d" % (before + number + 1)) == (len(answer.content), answer.content[:9])
        assert 200 == (await caller.call()).status
    await nothing_is_left(world)


async def test_a_pipelined_stream_is_not_idle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a request that was refused at once, an answer may take longer than idle connections are kept."""

    async def events() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.01)
            yield b"data: x\n\n"

    async def stream(_: Received) -> Reply:
        return Reply(body=events(), framing="chunked")

    with watched(monkeypatch) as made:
        caller = await warm_caller(world)
        made[-1]._keep_alive = 0  # the next wait is over at once
        world.reply = stream
        caller.writer.write(caller.head(REFUSED) + caller.head())
        assert 400 == (await caller.answer()).status
        assert b"data: x\n\n" * 4 == (await caller.answer()).content
