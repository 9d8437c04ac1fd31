"""WebSockets that are open: their limits, and how they end."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.frames import Close

from bff.serve.uvicorn_config import websocket_options
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.sessions import Found
from bff.session.use_notes import Noted
from tests.support.network.sockets import Sockets, closing, running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser
from tests.support.tasks import background
from tests.support.wait import until

OVER = Close(4401, "the session has ended")
AWAY = Close(1001, "")


@pytest.fixture
async def sockets(redis_server: RedisServer) -> AsyncIterator[Sockets]:
    async with running_sockets(redis_server) as sockets:
        await until(lambda: sockets.world.app.shared.feed.trusted)
        yield sockets


async def answers(socket: ClientConnection) -> None:
    """It is open, to the backend and back."""
    await socket.send("still there?")
    assert "still there?" == await socket.recv()


# The end of the session


@pytest.mark.requirement("B-22", "B-29", "L-06", "S-01")
async def test_the_session_is_deleted(sockets: Sockets) -> None:
    """After `redis-cli DEL` all its sockets are closed with 4401, the backend's with 1001; others stay."""
    browser, other = await sockets.world.signed_in(), await sockets.world.signed_in()
    mine = [await sockets.connect(browser) for _ in range(3)]
    theirs = await sockets.connect(other)
    for socket in (*mine, theirs):
        await answers(socket)
    sockets.world.redis.cli("DEL", browser.session_key)
    assert [OVER] * 3 == [await closing(socket) for socket in mine]
    await until(lambda: [AWAY] * 3 == sockets.backend.closes)
    await answers(theirs)
    await theirs.close()
    await until(lambda: 0 == watched(sockets))


def watched(sockets: Sockets) -> int:
    """How many sessions are watched."""
    return len(sockets.world.app.frontend.forwarding.websockets.watch)  # type: ignore[attr-defined] # an ASGI app to it


@pytest.mark.requirement("B-29", "L-06")
async def test_signing_out(sockets: Sockets) -> None:
    """A sign-out in one tab closes the sockets of all tabs."""
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser)
    await answers(socket)
    assert 200 == (await browser.call("/bff/logout", "POST")).status_code
    assert OVER == await closing(socket)


@pytest.mark.requirement("B-21", "B-29")
async def test_the_absolute_end(sockets: Sockets) -> None:
    """At the session's absolute end nothing is pushed: the clock is looked at."""
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser)
    await answers(socket)
    sockets.world.clock.ahead = 13 * 3600
    assert OVER == await closing(socket)


@pytest.mark.requirement("B-21", "B-29", "B-36")
async def test_the_idle_timeout(redis_server: RedisServer) -> None:
    """A backend that talks keeps nobody signed in; a client that does, does."""

    async def ticking(socket: ServerConnection) -> None:
        while True:
            await socket.send("tick")
            await asyncio.sleep(0.05)

    idle = {"idle_timeout": 2, "slide_interval": 0.2}
    async with running_sockets(redis_server, session=idle) as sockets:
        sockets.backend.handler = ticking
        silent, busy = await sockets.world.signed_in(), await sockets.world.signed_in()
        mute, talking = await sockets.connect(silent), await sockets.connect(busy)
        ended = asyncio.create_task(closing(mute))  # noqa: TID251 - awaited below
        while not ended.done():
            await talking.send("here")
            await asyncio.sleep(0.05)
        assert OVER == await ended
        for _ in range(30):
            await talking.send("here")
            assert "tick" == await talking.recv()
        assert "1" == sockets.world.redis.cli("EXISTS", busy.session_key)
        talking.transport.abort()  # a close would wait behind what it has not read


@pytest.mark.requirement("B-29")
async def test_use_is_noted_now_and_then(sockets: Sockets) -> None:
    """A thousand messages are one note at most, in the interval."""
    browser = await sockets.world.signed_in()
    writes: list[str] = []
    sessions = sockets.world.app.frontend.sessions
    begin = sessions.begin_note

    def counted(found: Found, then: Noted) -> None:
        writes.append("slide")
        begin(found, then)

    sessions.begin_note = counted  # type: ignore[method-assign] # to count
    async with await sockets.connect(browser) as socket:
        await answers(socket)
        assert [] == writes
        sockets.world.clock.ahead = 120
        for _ in range(300):
            await answers(socket)
        assert ["slide"] == writes


@pytest.mark.requirement("B-29")
async def test_a_rotation_in_between(sockets: Sockets) -> None:
    """New tokens disturb no socket; the session's end still closes it."""
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser)
    for _ in range(3):
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        await answers(socket)
    assert 3 == sockets.world.refreshes
    sockets.world.redis.cli("DEL", browser.session_key)
    assert OVER == await closing(socket)


@pytest.mark.requirement("B-29")
async def test_without_the_feed(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Redis tells nothing, it is asked."""
    monkeypatch.setattr(InvalidationFeed, "trusted", property(lambda _: False))
    monkeypatch.setattr(InvalidationFeed, "_tell", lambda *_: None)
    async with running_sockets(redis_server) as sockets:
        browser = await sockets.world.signed_in()
        socket = await sockets.connect(browser)
        await answers(socket)
        sockets.world.redis.cli("DEL", browser.session_key)
        assert OVER == await closing(socket)


@pytest.mark.requirement("T-10", "B-29")
async def test_redis_away(sockets: Sockets) -> None:
    """While Redis is away nobody is thrown out; what was deleted meanwhile is noticed afterwards."""
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser)
    sockets.world.redis.pause()
    await until(lambda: not sockets.world.app.shared.feed.trusted)
    await answers(socket)
    sockets.world.redis.resume()
    await until(lambda: sockets.world.app.shared.feed.trusted)
    await answers(socket)
    sockets.world.redis.cli("DEL", browser.session_key)
    assert OVER == await closing(socket)


# Close codes


@pytest.mark.parametrize(
    ("code", "reason", "passed"),
    [(1000, "", 1000), (1001, "bye", 1001), (1008, "no", 1008), (3001, "x", 3001), (4999, "y", 4999)],
)
async def test_close_codes_pass(sockets: Sockets, code: int, reason: str, passed: int) -> None:
    """Code and reason pass, in both directions."""
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser)
    await socket.close(code, reason)
    await until(lambda: [Close(passed, reason)] == sockets.backend.closes)

    async def closes(server: ServerConnection) -> None:
        await server.send("last word")
        await server.close(code, reason)

    sockets.backend.handler = closes
    socket = await sockets.connect(browser)
    assert "last word" == await socket.recv()
    assert Close(passed, reason) == await closing(socket)


@pytest.mark.requirement("H-06")
async def test_an_end_without_a_word(sockets: Sockets) -> None:
    """A backend that dies is 1014 to the page, a page that dies 1001 to the backend: never a clean end."""
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser)
    await answers(socket)
    socket.transport.abort()
    await until(lambda: [AWAY] == sockets.backend.closes)

    async def dies(server: ServerConnection) -> None:
        server.transport.abort()

    sockets.backend.handler = dies
    assert Close(1014, "") == await closing(await sockets.connect(browser))


# Limits


async def check_limit(sockets: Sockets, browser: Browser) -> None:
    """A thousand bytes pass, one more does not."""
    x = "x" * 1000
    too_much: list[tuple[str | bytes, str | bytes]] = [
        (x, x + "x"),
        (x.encode(), b"x" * 3_000_000),
        ("ü" * 500, "ü" * 501),
    ]
    for fits, too_big in too_much:
        socket = await sockets.connect(browser)
        await socket.send(fits)
        assert fits == await socket.recv()
        await socket.send(too_big)
        assert 1009 == (await closing(socket)).code


@pytest.mark.requirement("H-08")
async def test_another_route_takes_more(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest limit of all holds at the door, and each route's own behind it."""
    monkeypatch.setattr(
        "tests.support.processes.world.websocket_options",
        lambda *settings: {**websocket_options(*settings), "ws_max_size": 5_000_000},
    )
    async with running_sockets(redis_server, route={"websocket_max_message": 1000}) as sockets:
        await check_limit(sockets, await sockets.world.signed_in())


@pytest.mark.requirement("H-08")
async def test_messages_that_are_too_big(redis_server: RedisServer) -> None:
    """The limit holds to the byte, in both directions, and for text as it is on the wire: 1009."""
    async with running_sockets(redis_server, route={"websocket_max_message": 1000}) as sockets:
        browser = await sockets.world.signed_in()
        await check_limit(sockets, browser)
        await until(lambda: 3 == len(sockets.backend.closes))

        async def talks(server: ServerConnection) -> None:
            await server.send("x" * 1000)
            await server.send("x" * 1001)
            await server.wait_closed()

        sockets.backend.handler = talks
        socket = await sockets.connect(browser)
        assert "x" * 1000 == await socket.recv()
        assert 1009 == (await closing(socket)).code


@pytest.mark.requirement("H-03", "H-08")
async def test_a_page_that_reads_nothing(sockets: Sockets) -> None:
    """The backend is stopped within a few megabytes of buffers, and goes on when the page does."""
    sent = 0

    async def floods(server: ServerConnection) -> None:
        nonlocal sent
        for _ in range(1000):
            await server.send(b"x" * 65536)
            sent += 1

    sockets.backend.handler = floods
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser, max_queue=1)
    await stalled(lambda: sent)
    assert sent < 400
    for _ in range(1000):
        assert 65536 == len(await socket.recv())
    assert 1000 == (await closing(socket)).code


@pytest.mark.requirement("H-03", "H-08")
async def test_a_backend_that_reads_nothing(sockets: Sockets) -> None:
    """The page is stopped alike."""
    go_on, read, sent = asyncio.Event(), 0, 0

    async def dozes(server: ServerConnection) -> None:
        nonlocal read
        await go_on.wait()
        async for _ in server:
            read += 1

    sockets.backend.handler = dozes
    browser = await sockets.world.signed_in()
    socket = await sockets.connect(browser)

    async def floods() -> None:
        nonlocal sent
        for _ in range(1000):
            await socket.send(b"x" * 65536)
            sent += 1

    flooding = asyncio.create_task(floods())  # noqa: TID251 - awaited below
    await stalled(lambda: sent)
    assert sent < 400
    go_on.set()
    await flooding
    await socket.close()
    await until(lambda: 1000 == read)


async def stalled(count: Callable[[], int]) -> None:
    """Waits until a count has stood still for a while."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.5:
        if count() != last:
            last, since = count(), time.monotonic()
        await asyncio.sleep(0.02)
    assert last > 0


@pytest.mark.requirement("H-08")
async def test_a_client_that_is_not_there_any_more(redis_server: RedisServer) -> None:
    """Pings find out who has gone silent, on either side."""
    async with running_sockets(redis_server, server={"websocket_ping": 0.3}) as sockets:
        browser = await sockets.world.signed_in()
        socket = await sockets.connect(browser, ping_interval=None)
        await answers(socket)
        await asyncio.sleep(1)  # three pings are answered meanwhile
        await answers(socket)
        socket.transport.pause_reading()
        await until(lambda: 1 == len(sockets.backend.closes))
        socket.transport.abort()


async def test_pings_of_the_page(sockets: Sockets) -> None:
    """They are answered here."""
    browser: Browser = await sockets.world.signed_in()
    async with await sockets.connect(browser) as socket:
        async with asyncio.timeout(60):
            await (await socket.ping())


@pytest.mark.requirement("B-22", "B-29")
async def test_the_session_ends_during_the_handshake(redis_server: RedisServer) -> None:
    """A backend that takes its time is not waited for: 401, and its connection is closed."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with running_sockets(redis_server, route={"upstream": url}) as sockets, asyncio.timeout(30):
            browser = await sockets.world.signed_in()
            async with background(sockets.refused(browser)) as refused:
                await asked.wait()
                sockets.world.redis.cli("DEL", browser.session_key)
                answer = await refused
            assert (401, "session_ended") == (answer.status_code, json.loads(answer.body)["code"])
            await gone.wait()
            await until(lambda: 0 == watched(sockets))
