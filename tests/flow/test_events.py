"""GET /bff/events: a page is told of its session's end, and of what comes before it (S-03, L-06)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bff.session.invalidation_feed import InvalidationFeed
from tests.support.network.events import PATH, Event, Watcher
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until

pytestmark = pytest.mark.usefixtures("both_fronts")

OFTEN = {"events_heartbeat": 0.1}  # so that the clock is looked at often, too


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(redis_server, server=OFTEN) as world:
        await until(lambda: world.app.shared.feed.trusted)
        yield world


def field(world: World, key: str, name: str) -> str:
    return world.redis.cli("HGET", key, name)


def streams(world: World) -> float | None:
    return world.app.metrics.registry.get_sample_value("bff_event_streams")


async def nothing_is_kept(world: World) -> None:
    watch = world.app.frontend.forwarding.context.session_calls._watch
    assert watch is not None
    await until(lambda: 0 == streams(world) == len(watch))


@pytest.mark.requirement("B-22", "L-06", "S-01")
async def test_a_deletion(world: World) -> None:
    """After `redis-cli DEL` each stream of the session says so, and ends cleanly; another's goes on."""
    mine, theirs = await world.signed_in(), await world.signed_in()
    watchers = [await Watcher.opened(world, mine) for _ in range(3)]
    other = await Watcher.opened(world, theirs)
    world.redis.cli("DEL", mine.session_key)
    for watcher in watchers:
        assert [
            Event("session-ended", {"code": "session_ended", "reason": "unknown"})
        ] == await watcher.rest()
        assert watcher.ended
    said = len(other.said)
    await other.until(other.said + b":\n\n")
    assert b"event" not in other.said[said:]
    other.caller.leave()


@pytest.mark.requirement("L-06")
async def test_a_sign_out(world: World) -> None:
    """The reason is told; and the connection, as any after a whole answer, takes the next request."""
    browser = await world.signed_in()
    watcher = await Watcher.opened(world, browser)
    assert 200 == (await browser.call("/bff/logout", "POST")).status_code
    assert [Event("session-ended", {"code": "session_ended", "reason": "logout"})] == await watcher.rest()
    assert (401, "session_ended") == (await watcher.caller.call()).code


@pytest.mark.requirement("B-21", "L-06")
async def test_the_time_is_up(world: World) -> None:
    """An expired session is told from one that was ended."""
    browser = await world.signed_in()
    watcher = await Watcher.opened(world, browser)
    world.clock.ahead = 13 * 3600
    *_, last = await watcher.rest()
    assert Event("session-ended", {"code": "session_expired", "reason": "max_lifetime"}) == last


@pytest.mark.requirement("L-06")
async def test_without_the_feed(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Redis tells nothing, it is asked."""
    monkeypatch.setattr(InvalidationFeed, "trusted", property(lambda _: False))
    monkeypatch.setattr(InvalidationFeed, "_tell", lambda *_: None)
    async with running_world(redis_server) as world:
        browser = await world.signed_in()
        watcher = await Watcher.opened(world, browser)
        world.redis.cli("DEL", browser.session_key)
        (event,) = await watcher.rest()
        assert "session-ended" == event.name


@pytest.mark.requirement("S-03", "B-36")
async def test_a_stream_is_no_use_of_the_session(world: World) -> None:
    """However long it lasts, `seen` and the record's end stay; a call moves them, and the pages are told."""
    browser = await world.signed_in()
    key = browser.session_key
    seen = field(world, key, "seen")
    world.clock.ahead = 1700  # of 1800
    watcher = await Watcher.opened(world, browser)
    ending = await watcher.event()
    assert ending is not None
    assert ("session-ending", "idle") == (ending.name, ending.data["reason"])
    assert 60 < ending.data["seconds"] <= 100
    await watcher.until(watcher.said + b":\n\n:\n\n")
    assert seen == field(world, key, "seen")
    assert 200 == (await browser.call("/bff/user?slide=false")).status_code
    assert seen == field(world, key, "seen")
    assert 1700 < (await browser.call("/bff/user")).json()["session"]["idle_expires_in"] <= 1800
    extended = await watcher.event()
    assert extended is not None
    assert "session-extended" == extended.name
    assert 1700 < extended.data["seconds"] <= 1800
    assert seen != field(world, key, "seen")
    watcher.caller.leave()


@pytest.mark.requirement("S-03")
async def test_the_absolute_end_is_announced(redis_server: RedisServer) -> None:
    """Once, and no use of the session moves it."""
    async with running_world(redis_server, server=OFTEN, session={"max_lifetime": 2000}) as world:
        browser = await world.signed_in()
        world.clock.ahead = 1790
        assert 200 == (await browser.call("/bff/user")).status_code
        world.clock.ahead = 1940
        watcher = await Watcher.opened(world, browser)
        ending = await watcher.event()
        assert ending is not None
        assert ("session-ending", "max_lifetime") == (ending.name, ending.data["reason"])
        assert 200 == (await browser.call("/bff/user")).status_code
        world.clock.ahead = 2000
        assert ["session-ended"] == [event.name for event in await watcher.rest()]


@pytest.mark.requirement("S-03")
async def test_a_rotation(world: World) -> None:
    """Each rotation is told once, to each stream."""
    browser = await world.signed_in()
    watchers = [await Watcher.opened(world, browser) for _ in range(2)]
    for number in (1, 2):
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        for watcher in watchers:
            assert Event("refreshed", {"rotations": number}) == await watcher.event()
    late = await Watcher.opened(world, browser)
    world.redis.cli("DEL", browser.session_key)
    assert ["session-ended"] == [event.name for event in await late.rest()]
    for watcher in watchers:
        assert ["session-ended"] == [event.name for event in await watcher.rest()]


@pytest.mark.requirement("S-03", "B-09")
async def test_who_may_listen(world: World) -> None:
    """It takes what any script's request takes: the header, this origin, a session."""
    browser = await world.signed_in()
    stranger = await world.browser()
    for headers, status, code in (
        ({"X-CSRF": ""}, 403, "csrf_rejected"),
        ({"Sec-Fetch-Site": "same-site"}, 403, "csrf_rejected"),
    ):
        answer = await browser.call(PATH, headers=headers)
        assert (status, code) == (answer.status_code, answer.json()["code"])
    answer = await stranger.call(PATH)
    assert (401, "session_missing") == (answer.status_code, answer.json()["code"])
    assert 405 == (await browser.call(PATH, "POST")).status_code
    head = await browser.call(PATH, "HEAD")
    assert (200, "text/event-stream; charset=utf-8") == (head.status_code, head.headers["content-type"])
    watcher = await Watcher.opened(world, browser)
    for line in (b"cache-control: no-store", b"x-accel-buffering: no", b"content-type: text/event-stream"):
        assert line in watcher.head
    watcher.caller.leave()
    await nothing_is_kept(world)


@pytest.mark.requirement("S-03")
async def test_the_caps(redis_server: RedisServer) -> None:
    """Of one session and of the process; a stream that has ended makes room."""
    limits = {"events_per_session": 2, "events_per_process": 3}
    async with running_world(redis_server, server=OFTEN, limits=limits) as world:
        one, two = await world.signed_in(), await world.signed_in()
        first, second = [await Watcher.opened(world, one) for _ in range(2)]
        refused = await one.call(PATH)
        assert (429, "30") == (refused.status_code, refused.headers["retry-after"])
        assert "of this session" in refused.json()["detail"]
        third = await Watcher.opened(world, two)
        refused = await two.call(PATH)
        assert (429, "rate_limited") == (refused.status_code, refused.json()["code"])
        assert "too many event streams" == refused.json()["detail"]
        first.caller.leave()
        await until(lambda: 2 == streams(world))
        fourth = await Watcher.opened(world, one)
        assert [200] * 3 == [watcher.status for watcher in (second, third, fourth)]
        for watcher in (second, third, fourth):
            watcher.caller.leave()
        await nothing_is_kept(world)


@pytest.mark.requirement("S-03", "H-09")
@pytest.mark.server_only
async def test_a_stop(world: World) -> None:
    """When the process stops its streams end cleanly, and say when to come back."""
    browser = await world.signed_in()
    watchers = [await Watcher.opened(world, browser) for _ in range(3)]
    for watcher in watchers:
        await watcher.until(b"retry: 1000\n\n")
    events, _ = await asyncio.gather(asyncio.gather(*(each.rest() for each in watchers)), world.stop_proxy())
    assert [[], [], []] == events
    for watcher in watchers:
        assert watcher.ended
        *_, retry = watcher.said.removesuffix(b"\n\n").split(b"retry: ")
        assert 1000 <= int(retry) < 4000
