"""Other settings in a running proxy: what is built anew, what is kept, and how what is under way ends."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from websockets.frames import Close

from bff.live_settings import NotTakenError
from bff.settings.model import RouteSettings, Settings
from tests.support.network.backend import Received, Reply, backend
from tests.support.network.events import Event, Watcher
from tests.support.network.sockets import closing, running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until

pytestmark = pytest.mark.requirement("P-02", "S-10")


def with_routes(settings: Settings, *routes: RouteSettings, **sections: Any) -> Settings:
    return settings.model_copy(update={"route": routes, **sections})


def open_at(world: World, url: str) -> float | None:
    labels = {"upstream": url.removeprefix("http://")}
    return world.app.metrics.registry.get_sample_value("bff_upstream_connections", labels)


async def test_a_session_and_its_streams_go_on(redis_server: RedisServer) -> None:
    """Routes come and go; the session, an open stream and the connections of the other routes stay."""

    async def answer(_: Received) -> Reply:
        return Reply(body=b"other")

    async with running_world(redis_server) as world, backend(answer) as other:
        await until(lambda: world.app.shared.feed.trusted)
        (kept,) = world.app.settings.route
        added = RouteSettings(path="/other", upstream=other.url)
        browser = await world.signed_in()
        watcher = await Watcher.opened(world, browser)
        assert 200 == (await browser.call("/api/x")).status_code
        connections, client = world.backend.connections, world.app.frontend.providers.default
        former = weakref.ref(world.app.frontend.sessions)

        reloaded = await world.app.reload(with_routes(world.app.settings, kept, added))
        assert ("route /other",) == reloaded.changed
        assert [200, 200] == [(await browser.call(path)).status_code for path in ("/api/x", "/other/x")]
        assert (connections, client) == (world.backend.connections, world.app.frontend.providers.default)
        assert 1 == open_at(world, other.url)

        await world.app.reload(with_routes(world.app.settings, kept))
        assert 404 == (await browser.call("/other/x")).status_code
        assert 0 == open_at(world, other.url)
        assert 1 == world.app.metrics.registry.get_sample_value("bff_event_streams")

        assert 200 == (await browser.call("/bff/logout", "POST")).status_code
        assert [Event("session-ended", {"code": "session_ended", "reason": "logout"})] == await watcher.rest()
        watcher.caller.leave()
        del watcher
        await until(lambda: gc.collect() >= 0 and former() is None)


@pytest.mark.usefixtures("both_fronts")
async def test_a_websocket_route_comes_and_goes(redis_server: RedisServer) -> None:
    """A WebSocket opens on a route that was added, and goes on when the route is taken out again."""
    async with running_sockets(redis_server) as sockets:
        world = sockets.world
        (route,) = world.app.settings.route
        added = route.model_copy(update={"path": "/added"})
        browser = await world.signed_in()
        kept = await sockets.connect(browser)
        assert 400 == (await sockets.refused(browser, "/added/x")).status_code
        await world.app.reload(with_routes(world.app.settings, route, added))
        opened = await sockets.connect(browser, "/added/x")
        await world.app.reload(with_routes(world.app.settings, route))
        assert 400 == (await sockets.refused(browser, "/added/x")).status_code
        for socket in (kept, opened):
            await socket.send("still here")
            assert "still here" == await socket.recv()
        assert 200 == (await browser.call("/bff/logout", "POST")).status_code
        for socket in (kept, opened):
            assert Close(4401, "the session has ended") == await closing(socket)


async def test_a_call_ends_on_the_settings_that_it_began_with(redis_server: RedisServer) -> None:
    """A call of a route that is taken out gets its answer, and its connection is closed behind it."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()
        arrived, go = asyncio.Event(), asyncio.Event()

        async def held(_: Received) -> Reply:
            arrived.set()
            await go.wait()
            return Reply(body=b"late")

        world.reply = held
        call = world.app.tasks.spawn(browser.call("/api/slow"), name="call")
        await arrived.wait()
        await world.app.reload(with_routes(world.app.settings))
        assert 404 == (await browser.call("/api/x")).status_code
        go.set()
        assert 200 == (await call).status_code
        await until(lambda: not world.backend.open)


async def test_other_limits_count_what_is_under_way(redis_server: RedisServer) -> None:
    """A stream that was open before counts after; the limit is the newer one."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()
        watcher = await Watcher.opened(world, browser)
        limits = world.app.settings.limits.model_copy(update={"events_per_session": 1})
        await world.app.reload(world.app.settings.model_copy(update={"limits": limits}))
        assert 429 == (await browser.call("/bff/events")).status_code
        watcher.caller.leave()


async def test_another_client_of_the_provider(redis_server: RedisServer) -> None:
    """Other scopes are asked for from then on; sessions that there are go on, and are rotated."""
    async with running_world(redis_server, provider={"par": "never"}) as world:
        browser = await world.signed_in()
        former = world.app.frontend.providers.default
        provider = world.app.settings.provider.model_copy(update={"scopes": ("openid", "offline_access")})
        reloaded = await world.app.reload(world.app.settings.model_copy(update={"provider": provider}))
        assert ("provider.scopes",) == reloaded.changed
        assert former is not world.app.frontend.providers.default
        started = await (await world.browser()).client.get("/bff/login")
        assert "scope=openid+offline_access" in started.headers["location"]
        world.clock.ahead = 400
        assert 200 == (await browser.call("/api/x")).status_code
        assert 200 == (await browser.user()).status_code


async def test_what_cannot_be_taken_changes_nothing(redis_server: RedisServer, tmp_path: Any) -> None:
    """Neither a change that needs a restart, with others beside it, nor a frontend that cannot be built."""
    async with running_world(redis_server) as world:
        before, frontend = world.app.settings, world.app.frontend
        (route,) = before.route
        redis = before.redis.model_copy(update={"timeout": 7.0})
        with pytest.raises(NotTakenError) as refused:
            await world.app.reload(with_routes(before, redis=redis))
        assert ("redis.timeout",) == refused.value.left
        gone = RouteSettings(path="/x", upstream="https://localhost:1", ca_file=tmp_path / "gone.pem")
        pools = world.app.shared.pools.all()
        with pytest.raises(NotTakenError, match="cannot be built"):
            await world.app.reload(with_routes(before, route, gone))
        assert (before, frontend) == (world.app.settings, world.app.frontend)
        assert pools == world.app.shared.pools.all()
        assert 401 == (await (await world.browser()).call("/api/x")).status_code
