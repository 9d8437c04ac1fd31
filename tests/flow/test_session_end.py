"""Calls that last end with their session, on both fronts (S-01, L-06)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from bff.session import session_calls
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.session_calls import SessionCalls
from bff.session.sessions import Found
from tests.support.load.warm import Caller, Plain, pool, warm_caller
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until

pytestmark = [pytest.mark.requirement("S-01", "L-06"), pytest.mark.usefixtures("both_fronts")]

EVENTS = (b"content-type", b"text/event-stream")
END = b"0\r\n\r\n"
OVER = (401, "session_ended")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call counts as one that lasts after a moment."""
    monkeypatch.setattr(session_calls, "YOUNG", 0.05)
    monkeypatch.setattr(session_calls, "_SWEEP_EVERY", 0.01)


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(redis_server) as world:
        await until(lambda: world.app.shared.feed.trusted)
        yield world


def calls(world: World) -> SessionCalls:
    return world.app.frontend.forwarding.context.session_calls


def watched(world: World) -> int:
    """How many calls are watched."""
    return len(calls(world)._watched)


async def nothing_is_kept(world: World) -> None:
    signed = calls(world)
    watch = signed._watch
    assert watch is not None
    await until(lambda: not (signed._watched or signed._young or len(watch)))


async def ticking(_: Received) -> Reply:
    """An event stream that never ends."""

    async def events() -> AsyncIterator[bytes]:
        while True:
            yield b"data: tick\n\n"
            await asyncio.sleep(0.02)

    return Reply(headers=[EVENTS], body=events(), framing="chunked")


async def streaming(world: World, browser: Browser) -> Caller:
    """A client whose event stream is under way."""
    caller = await Caller.connected(world, browser)
    caller.writer.write(caller.head())
    async with asyncio.timeout(60):
        await caller.reader.readuntil(b"data: tick\n\n")
    return caller


async def deleted(world: World, browser: Browser) -> None:
    world.redis.cli("DEL", browser.session_key)


async def signed_out(_: World, browser: Browser) -> None:
    assert 200 == (await browser.call("/bff/logout", "POST")).status_code


async def expired(world: World, _: Browser) -> None:
    world.clock.ahead = 13 * 3600


@pytest.mark.parametrize("ending", [deleted, signed_out, expired])
async def test_event_streams(world: World, ending: Callable[..., object]) -> None:
    """All streams of a session break visibly when it ends, and another session's goes on."""
    world.reply = ticking
    mine, theirs = await world.signed_in(), await world.signed_in()
    streams = [await streaming(world, mine) for _ in range(3)]
    other = await streaming(world, theirs)
    await until(lambda: watched(world) == 4)
    await ending(world, mine)  # type: ignore[misc] # each is a coroutine function
    for stream in streams:
        assert not (await stream.rest()).endswith(END)
    if ending is not expired:
        await asyncio.wait_for(other.reader.readuntil(b"data: tick\n\n"), 60)
    other.leave()
    await nothing_is_kept(world)


async def test_a_stream_is_watched_from_its_head(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at once, however young it is."""
    monkeypatch.setattr(session_calls, "YOUNG", 3600)
    world.reply = ticking
    browser = await world.signed_in()
    stream = await streaming(world, browser)
    assert 1 == watched(world)
    world.redis.cli("DEL", browser.session_key)
    assert not (await stream.rest()).endswith(END)
    await nothing_is_kept(world)


async def test_a_rotation_ends_nothing(world: World) -> None:
    """New tokens are a change of the session, and no end of it."""
    world.reply = ticking
    browser = await world.signed_in()
    stream = await streaming(world, browser)
    await until(lambda: watched(world) == 1)
    for _ in range(3):
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
    await asyncio.wait_for(stream.reader.readuntil(b"data: tick\n\n"), 60)
    world.redis.cli("DEL", browser.session_key)
    assert not (await stream.rest()).endswith(END)


async def test_without_the_feed(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Redis tells nothing, it is asked."""
    monkeypatch.setattr(InvalidationFeed, "trusted", property(lambda _: False))
    monkeypatch.setattr(InvalidationFeed, "_tell", lambda *_: None)
    async with running_world(redis_server) as world:
        world.reply = ticking
        browser = await world.signed_in()
        stream = await streaming(world, browser)
        await until(lambda: watched(world) == 1)
        world.redis.cli("DEL", browser.session_key)
        assert not (await stream.rest()).endswith(END)


async def test_a_long_download(world: World) -> None:
    """A download of a known length breaks short of it."""
    size = 1_000_000

    async def slow(_: Received) -> bytes | Reply:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield bytes(1000)
                await asyncio.sleep(0.02)

        return Reply(headers=[(b"content-length", b"%d" % size)], body=pieces(), framing="as given")

    world.reply = slow
    browser = await world.signed_in()
    caller = await Caller.connected(world, browser)
    caller.writer.write(caller.head())
    async with asyncio.timeout(60):
        await caller.reader.readuntil(b"\r\n\r\n")
    await until(lambda: watched(world) == 1)
    world.redis.cli("DEL", browser.session_key)
    assert len(await caller.rest()) < size
    await nothing_is_kept(world)


async def test_an_answer_that_has_not_begun(world: World) -> None:
    """A call that still waits for its answer is told that its session has ended, and the backend is left."""
    gone = asyncio.Event()

    async def never(_: Received) -> None:
        gone.set()
        await asyncio.Event().wait()

    world.reply = never
    browser = await world.signed_in()
    caller = await Caller.connected(world, browser)
    caller.writer.write(caller.head())
    await gone.wait()
    await until(lambda: watched(world) == 1)
    world.redis.cli("DEL", browser.session_key)
    assert OVER == (await caller.answer()).code
    await nothing_is_kept(world)
    await until(lambda: pool(world).open == 0)


async def test_an_upload(world: World) -> None:
    """An upload under way is answered, and its backend's call is dropped."""
    browser = await world.signed_in()
    caller = await Caller.connected(world, browser)
    caller.writer.write(caller.head("POST /api/x HTTP/1.1", "Content-Length: 1000000"))
    caller.writer.write(bytes(200_000))
    await until(lambda: watched(world) == 1)
    world.redis.cli("DEL", browser.session_key)
    assert OVER == (await caller.answer()).code
    await nothing_is_kept(world)


async def test_an_answer_whose_last_bytes_are_on_their_way(world: World) -> None:
    """A whole answer that a client has yet to read reaches it, although its session has ended meanwhile."""
    content = bytes(200_000)

    async def whole(_: Received) -> Reply:
        return Reply(body=content)

    world.reply = whole
    browser = await world.signed_in()
    caller = await Caller.connected(world, browser, receive_buffer=4096)
    caller.writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads, too
    caller.writer.write(caller.head())
    signed = calls(world)
    await until(lambda: bool(world.backend.requests) and not (signed._young or signed._watched))
    world.redis.cli("DEL", browser.session_key)
    assert 401 == (await browser.user()).status_code
    caller.writer.transport.resume_reading()  # type: ignore[attr-defined] # the same
    assert content == (await caller.answer()).content


async def test_a_session_that_ended_before_the_call_was_watched(world: World) -> None:
    """The end is found when the call has lasted long enough, at the latest."""
    world.reply = ticking
    browser = await world.signed_in()
    stream = await streaming(world, browser)
    world.redis.cli("DEL", browser.session_key)
    assert not (await stream.rest()).endswith(END)


async def test_a_client_that_leaves(world: World) -> None:
    """Nothing of its call stays."""
    world.reply = ticking
    browser = await world.signed_in()
    streams = [await streaming(world, browser) for _ in range(2)]
    await until(lambda: watched(world) == 2)
    for stream in streams:
        stream.leave()
    await nothing_is_kept(world)
    assert 200 == (await browser.user()).status_code


async def test_a_plain_call_pays_nothing(
    world: World, plain: Plain, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Calls on the fast path are not even entered; on the other front they are taken out again."""
    begun: list[Found] = []
    begin = SessionCalls.begin

    def counting(signed: SessionCalls, call: session_calls.SessionCall, found: Found) -> None:
        begun.append(found)
        begin(signed, call, found)

    caller = await warm_caller(world)
    monkeypatch.setattr(SessionCalls, "begin", counting)
    for _ in range(20):
        assert 200 == (await caller.call()).status
    on_server = "server" in request.node.name
    assert (20 if on_server else 0) <= plain.ended_plain
    assert (0 if on_server else 20) == len(begun)
    await nothing_is_kept(world)
