"""One client cannot take a backend from everybody: slow uploads, streams, crowds of calls (H-12)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.load.warm import Caller, pool
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until

pytestmark = pytest.mark.usefixtures("both_fronts")

EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]


async def idle_events() -> AsyncIterator[bytes]:
    """One event, then nothing."""
    yield b"data: 1\n\n"
    await asyncio.Event().wait()


@asynccontextmanager
async def small(redis: RedisServer, **settings: Any) -> AsyncIterator[World]:
    """A world with four connections to the backend, where waiting for one is given up soon."""
    route = {"max_connections": 4, "queue_timeout": 20, **settings.pop("route", {})}
    async with running_world(redis, route=route, **settings) as world:
        yield world


async def upload(world: World, browser: Any, length: int, sent: bytes) -> Caller:
    caller = await Caller.connected(world, browser)
    caller.writer.write(caller.head("POST /api/upload HTTP/1.1", f"Content-Length: {length}") + sent)
    return caller


@pytest.mark.requirement("H-12")
async def test_slow_uploads_hold_no_connection(redis_server: RedisServer) -> None:
    """Four bodies of which one byte comes now and then: no connection is taken for them."""
    async with small(redis_server) as world:
        greedy, other = await world.signed_in(), await world.signed_in()
        uploads = [await upload(world, greedy, 1000, b"x") for _ in range(8)]
        for _ in range(5):
            assert 200 == (await other.call("/api/orders")).status_code
            for caller in uploads:
                caller.writer.write(b"x")
        assert 1 == pool(world).open
        assert {b"GET"} == {request.method for request in world.backend.requests}
        for caller in uploads:
            caller.writer.write(b"x" * 994)
        assert [200] * 8 == [(await caller.answer()).status for caller in uploads]
        bodies = [request.body for request in world.backend.requests if request.method == b"POST"]
        assert [b"x" * 1000] * 8 == bodies


@pytest.mark.requirement("H-12")
async def test_long_uploads_leave_room(redis_server: RedisServer) -> None:
    """Bodies beyond the buffer do hold connections; another session's calls go on."""
    async with small(redis_server) as world:
        greedy, other = await world.signed_in(), await world.signed_in()
        for _ in range(6):
            await upload(world, greedy, 10_000_000, b"x" * 70_000)
        await until(lambda: (3, 3) == (pool(world).open, pool(world).waiting))
        for _ in range(5):
            assert 200 == (await other.call("/api/orders")).status_code


@pytest.mark.requirement("H-12")
async def test_a_hundred_streams_at_the_default(redis_server: RedisServer) -> None:
    """One session gets twenty streams, and the rest is told to come back; nobody else notices."""
    async with small(redis_server) as world:

        async def reply(request: Received) -> Reply | None:
            if request.target.startswith(b"/events"):
                return Reply(200, EVENTS, idle_events(), framing="chunked")
            return Reply(body=b"[]")

        world.reply = reply
        greedy, other = await world.signed_in(), await world.signed_in()
        statuses: list[int] = []
        retry: set[str] = set()
        for _ in range(100):
            caller = await Caller.connected(world, greedy)
            caller.writer.write(caller.head("GET /api/events HTTP/1.1"))
            head = await caller.reader.readuntil(b"\r\n\r\n")
            statuses.append(int(head.split()[1]))
            if statuses[-1] == 429:
                retry.add(head.lower().partition(b"retry-after: ")[2].partition(b"\r\n")[0].decode())
            assert 200 == (await other.call("/api/orders")).status_code
        assert [200] * 20 + [429] * 80 == statuses
        assert {"5"} == retry


@pytest.mark.requirement("H-12")
async def test_streams_take_no_call_s_place(redis_server: RedisServer) -> None:
    """Far more streams than connections, and calls go on, those of the same session as well."""
    async with small(redis_server, limits={"streams_per_session": 100}, route={"max_streams": 30}) as world:

        async def reply(request: Received) -> Reply | None:
            if request.target.startswith(b"/events"):
                return Reply(200, EVENTS, idle_events(), framing="chunked")
            return Reply(body=b"[]")

        world.reply = reply
        browser = await world.signed_in()
        callers = []
        for _ in range(31):
            caller = await Caller.connected(world, browser)
            caller.writer.write(caller.head("GET /api/events HTTP/1.1"))
            head = await caller.reader.readuntil(b"\r\n\r\n")
            callers.append((int(head.split()[1]), caller))
        assert [200] * 30 + [429] == [status for status, _ in callers]
        for _ in range(5):
            assert 200 == (await browser.call("/api/orders")).status_code
        for _, caller in callers:
            caller.leave()
        await until(lambda: pool(world).open == pool(world).idle)
        caller = await Caller.connected(world, browser)
        caller.writer.write(caller.head("GET /api/events HTTP/1.1"))
        assert b" 200 " in await caller.reader.readuntil(b"\r\n")


@pytest.mark.requirement("H-12", "H-08")
@pytest.mark.parametrize("length", [1000, 10_000_000])
async def test_a_body_that_trickles_is_refused(redis_server: RedisServer, length: int) -> None:
    """408 for a body that comes more slowly than the minimum, before and after it has a connection."""
    route = {"body_min_rate": 100_000_000, "body_rate_window": 0.1, "replay_buffer": 10_000}
    async with small(redis_server, route=route) as world:
        browser = await world.signed_in()
        caller = await upload(world, browser, length, b"x" * min(20_000, length - 1))
        answer = await caller.answer()
        assert (408, "request_timeout") == (answer.status, json.loads(answer.content)["code"])
        await until(lambda: pool(world).open == pool(world).idle)


@pytest.mark.requirement("H-12", "H-08")
async def test_a_body_has_an_end(redis_server: RedisServer) -> None:
    """However steadily it comes, a body is over after the total time."""
    async with small(redis_server, route={"body_min_rate": 0, "body_total_timeout": 0.1}) as world:
        browser = await world.signed_in()
        caller = await upload(world, browser, 1000, b"x")
        assert 408 == (await caller.answer()).status


@pytest.mark.requirement("H-12")
@pytest.mark.parametrize("limit", ["calls_per_session", "calls_per_address"])
async def test_calls_at_once(redis_server: RedisServer, limit: str) -> None:
    """Beyond so many at once: 429 with Retry-After; when one is over the next may come."""
    async with small(redis_server, limits={limit: 2}) as world:
        browser, other = await world.signed_in(), await world.signed_in()
        uploads = [await upload(world, browser, 10, b"x") for _ in range(2)]
        callers = world.app.frontend.forwarding.context.callers
        await until(lambda: 2 == callers.calls_of_address._under_way.get("127.0.0.1"))
        refused = await browser.call("/api/orders", "POST", content=b"x")
        assert (429, "rate_limited") == (refused.status_code, refused.json()["code"])
        assert 1 <= int(refused.headers["retry-after"])
        others = await other.call("/api/orders", "POST", content=b"x")
        assert (200 if limit == "calls_per_session" else 429) == others.status_code
        uploads[0].leave()
        await until(lambda: 1 == callers.calls_of_address._under_way.get("127.0.0.1"))
        assert 200 == (await browser.call("/api/orders", "POST", content=b"x")).status_code
        uploads[1].writer.write(b"x" * 9)
        assert 200 == (await uploads[1].answer()).status
        await until(lambda: 0 == len(callers.calls_of_address) == len(callers.calls_of_session))
