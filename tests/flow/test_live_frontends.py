"""Frontends that come, change and go while the proxy runs: what goes on, what ends, and what comes back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.frames import Close
from websockets.typing import Origin

from bff.crypto import session_key
from bff.embedded import free_port
from bff.live_settings import NotTakenError
from bff.settings.model import FrontendSettings, RouteSettings, Settings
from tests.support.load.warm import Caller
from tests.support.network.backend import Received, Reply
from tests.support.network.events import Watcher
from tests.support.network.sockets import closing, running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, Browser, World, running_world
from tests.support.providers.issuer import async_sign_in_at
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = pytest.mark.requirement("P-01", "P-02")


def at_frontends(settings: Settings, *frontends: FrontendSettings, **sections: Any) -> Settings:
    return settings.model_copy(update={"frontend": frontends, **sections})


async def signed_in(world: World, origin: str, base: str = "") -> Browser:
    browser = Browser(origin)
    await world.stack.enter_async_context(browser.client)
    await browser.sign_in(base_path=base)
    assert browser.handle is not None
    return browser


async def statuses(browser: Browser, *paths: str) -> list[int]:
    return [(await browser.call(path)).status_code for path in paths]


async def watching(world: World, browser: Browser) -> Watcher:
    """An event stream at the browser's own frontend."""
    caller = await Caller.connected(world, browser)
    head = caller.head("GET /bff/events HTTP/1.1")
    caller.writer.write(head.replace(b"Host: localhost", b"Host: 127.0.0.1"))
    async with asyncio.timeout(60):
        return Watcher(caller, await caller.reader.readuntil(b"\r\n\r\n"))


@pytest.mark.usefixtures("both_fronts")
async def test_a_frontend_goes_and_comes_back(redis_server: RedisServer) -> None:
    """What is open at it ends in good order, a call under way gets its answer; its sessions come back."""
    port = free_port()
    frontends = [
        {"name": "shop", "public_url": f"http://127.0.0.1:{port}"},
        {"name": "desk", "public_url": f"http://localhost:{port}/desk"},
    ]
    async with running_sockets(redis_server, port=port, frontends=frontends) as sockets:
        world = sockets.world
        shop_settings, desk_settings = world.app.settings.frontend
        shared = world.app.settings.route
        plain = RouteSettings(path="/plain", upstream=world.backend.url)
        await world.app.reload(
            at_frontends(world.app.settings, shop_settings, desk_settings, route=(*shared, plain))
        )
        main = await world.signed_in()
        shop = await signed_in(world, shop_settings.public_url)
        desk = await signed_in(world, world.url, "/desk")
        socket = await connect(
            f"ws://127.0.0.1:{port}/api/feed",
            additional_headers={"Cookie": f"bff={shop.handle}"},
            origin=Origin(shop_settings.public_url),
            proxy=None,
        )
        other_socket = await sockets.connect(main)
        watcher = await watching(world, shop)
        arrived, go = asyncio.Event(), asyncio.Event()

        async def held(_: Received) -> Reply:
            arrived.set()
            await go.wait()
            return Reply(body=b"late")

        world.reply = held
        call = world.app.tasks.spawn(shop.call("/plain/slow"), name="call")
        await arrived.wait()

        reloaded = await world.app.reload(at_frontends(world.app.settings, desk_settings))
        assert ("frontend shop",) == reloaded.changed
        assert Close(1001, "") == await closing(socket)
        assert [] == await watcher.rest()
        assert watcher.ended
        assert b"retry: " in watcher.said
        world.reply = None
        assert [421, 421] == await statuses(shop, "/plain/x", "/bff/user")
        assert [200, 200] == await statuses(main, "/plain/x", "/bff/user")
        assert [200, 200] == await statuses(desk, "/desk/plain/x", "/desk/bff/user")

        await world.app.reload(at_frontends(world.app.settings))
        assert world.app.in_force.several is None
        assert [404, 404] == await statuses(desk, "/desk/plain/x", "/desk/bff/user")
        assert [200, 200] == await statuses(main, "/plain/x", "/bff/user")
        go.set()
        assert (200, "late") == ((await call).status_code, call.result().text)

        await world.app.reload(at_frontends(world.app.settings, desk_settings, shop_settings))
        assert [200, 200] == await statuses(shop, "/plain/x", "/bff/user")
        assert [200, 200] == await statuses(desk, "/desk/plain/x", "/desk/bff/user")
        assert 200 == (await shop.call("/bff/logout", "POST")).status_code
        assert [401, 401] == await statuses(shop, "/plain/x", "/bff/user")
        await other_socket.send("still here")
        assert "still here" == await other_socket.recv()
        async with httpx.AsyncClient(base_url=world.url, timeout=60) as stranger:
            carried = {**CSRF, "Cookie": f"bff={desk.handle}"}
            assert 401 == (await stranger.get("/bff/user", headers=carried)).status_code
        watcher.caller.leave()


async def feed(_: Received) -> Reply:
    """A backend's event stream, which says one thing and stays."""

    async def events() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        await asyncio.Event().wait()

    return Reply(headers=[(b"content-type", b"text/event-stream")], body=events(), framing="chunked")


@pytest.mark.requirement("S-01")
async def test_a_backends_stream_ends_with_its_frontend(redis_server: RedisServer) -> None:
    """Cleanly, as ours does, so that its reader comes back; another frontend's goes on."""
    port = free_port()
    shop_frontend = {"name": "shop", "public_url": f"http://127.0.0.1:{port}"}
    async with running_world(redis_server, port=port, frontends=[shop_frontend]) as world:
        world.reply = feed
        streams = world.app.shared.event_streams
        main, shop = await world.signed_in(), await signed_in(world, shop_frontend["public_url"])
        async with background(main.call("/api/feed")) as lasting, background(shop.call("/api/feed")) as ended:
            await until(lambda: len(streams._open) == 2)
            await world.app.reload(at_frontends(world.app.settings))
            assert b"data: one\n\nretry: 1000\n\n" == (await ended).content
            assert (1, False) == (len(streams._open), lasting.done())


async def test_a_kept_connection_reaches_a_frontend_that_has_come(redis_server: RedisServer) -> None:
    """A reverse proxy sends all hosts over the connections that it keeps: 421 before, served from then on."""
    port = free_port()
    async with (
        running_world(redis_server, port=port) as world,
        httpx.AsyncClient(base_url=world.url, timeout=60) as client,
    ):
        at_shop = {**CSRF, "Host": f"127.0.0.1:{port}"}
        for path in ("/api/x", "/bff/user"):
            assert 421 == (await client.get(path, headers=at_shop)).status_code
        assert 401 == (await client.get("/bff/user", headers=CSRF)).status_code
        (kept,) = world.server.server_state.connections
        shop = FrontendSettings(name="shop", public_url=f"http://127.0.0.1:{port}")
        told: list[Settings] = []
        newer = at_frontends(world.app.settings, shop)
        looks = world.app.live._reloader.look_settled

        async def look() -> Any:
            assert [newer] == told  # the server has its part at once, and not behind the look at all files
            return await looks()

        world.app.live._reloader.look_settled = look  # type: ignore[method-assign] # to see what came before
        await world.app.reload(newer, told.append)
        for path in ("/api/x", "/bff/user"):
            assert 401 == (await client.get(path, headers=at_shop)).status_code
        assert {kept} == world.server.server_state.connections


def discoveries(world: World) -> int:
    return world.issuer.seen.paths().count("/.well-known/openid-configuration")


async def test_what_stays_is_kept_warm(redis_server: RedisServer) -> None:
    """A frontend whose settings stay is the same one, with its memory; all share one client."""
    port = free_port()
    frontends = [
        {"name": name, "public_url": f"http://{host}:{port}{path}"}
        for name, host, path in (("shop", "127.0.0.1", ""), ("desk", "localhost", "/desk"))
    ]
    async with running_world(redis_server, port=port, frontends=frontends) as world:
        app = world.app
        await until(lambda: app.shared.feed.trusted)
        main, desk = await world.signed_in(), await signed_in(world, world.url, "/desk")
        shop = await signed_in(world, f"http://127.0.0.1:{port}")
        assert 1 == discoveries(world)
        (client,) = app.shared.clients.all()
        assert {client} == {each.providers.default.shared for each in app.frontends.every}
        assert [[200], [200]] == [await statuses(main, "/api/x"), await statuses(shop, "/api/x")]

        before = {each.name: each for each in app.frontends.every}
        shop_settings, desk_settings = app.settings.frontend
        ruled = RouteSettings.model_validate(
            {"path": "/own", "upstream": world.backend.url, "allow": {"groups": ["staff"]}}
        )
        changed = shop_settings.model_copy(update={"route": (ruled,)})
        more = FrontendSettings(name="more", public_url=f"http://127.0.0.2:{port}")
        reloaded = await app.reload(at_frontends(app.settings, changed, desk_settings, more))
        assert ("frontend shop", "frontend more") == reloaded.changed
        after = {each.name: each for each in app.frontends.every}
        assert {"", "desk"} == {name for name in before if before[name] is after[name]}
        assert {client} == {each.providers.default.shared for each in app.frontends.every}
        assert 1 == discoveries(world)
        hits = near_cache(world, "hits")
        assert [200] == await statuses(main, "/api/x")
        assert hits + 1 == near_cache(world, "hits")
        assert [200] == await statuses(shop, "/api/x")
        assert hits + 1 == near_cache(world, "hits")
        assert [403] == await statuses(shop, "/own/x")

        reloaded = await app.reload(at_frontends(app.settings, more, changed, desk_settings))
        assert ("frontend",) == reloaded.changed
        assert set(after.values()) == set(app.frontends.every)

        routes = app.settings.route
        below = RouteSettings(path="/below", upstream=world.backend.url)
        await app.reload(at_frontends(app.settings, changed, desk_settings, route=(*routes, below)))
        assert [400] == await statuses(main, "/bff/login?return_to=/desk/below/x")  # it is the desk's now
        assert [200] == await statuses(desk, "/desk/below/x")


def near_cache(world: World, name: str) -> int:
    return int(getattr(world.app.metrics.near_cache, name))


async def test_a_provider_goes_and_comes_back(redis_server: RedisServer) -> None:
    """Its users are signed out, the others notice nothing; then people sign in at it again."""
    async with running_world(redis_server, others={"partners": {}}) as world:
        both = world.app.settings
        alone = both.model_copy(update={"more_providers": ()})
        main, guest = await world.signed_in(), await world.browser()
        await guest.sign_in(provider="partners")
        assert [[200], [200]] == [await statuses(each, "/api/x") for each in (main, guest)]
        client = world.app.frontend.providers.default

        assert ("provider partners",) == (await world.app.reload(alone)).changed
        answer = await guest.user()
        assert (401, "session_ended", "provider_removed") == (
            answer.status_code,
            answer.json()["code"],
            answer.json()["reason"],
        )
        assert [200] == await statuses(main, "/api/x")

        assert ("provider partners",) == (await world.app.reload(both)).changed
        await guest.sign_in(provider="partners")
        assert [[200], [200]] == [await statuses(each, "/api/x") for each in (main, guest)]
        assert client is world.app.frontend.providers.default


@pytest.mark.requirement("O-10")
@pytest.mark.parametrize("comes", [True, False], ids=["another comes", "the other goes"])
async def test_a_sign_in_under_way_outlives_a_change_of_providers(
    redis_server: RedisServer, comes: bool
) -> None:
    """It comes back where it was sent to come back, though the callback of new ones is another by now."""
    async with running_world(redis_server, others={"partners": {}}) as world:
        both = world.app.settings
        alone = both.model_copy(update={"more_providers": ()})
        before, after = (alone, both) if comes else (both, alone)
        await world.app.reload(before)
        browser = await world.browser()
        page = await browser.follow(await browser.client.get("/bff/login?return_to=/page"))
        await world.app.reload(after)
        back = await async_sign_in_at(page, browser.client)
        landed = await browser.client.get(back.headers["location"])
        assert (200, "0; url=/bff/callback/finish") == (landed.status_code, landed.headers["refresh"])
        end = await browser.client.get("/bff/callback/finish")
        assert (303, "/page") == (end.status_code, end.headers["location"])
        assert 200 == (await browser.user()).status_code


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.parametrize("several", [False, True], ids=["one frontend", "several"])
async def test_what_is_open_ends_with_its_provider(redis_server: RedisServer, several: bool) -> None:
    """WebSockets and event streams of a provider's users end when it is taken out, whenever they began."""
    port = free_port()
    shop = {"name": "shop", "public_url": f"http://127.0.0.1:{port}"}
    async with running_sockets(
        redis_server, port=port, others={"partners": {}}, frontends=[shop] if several else []
    ) as sockets:
        world = sockets.world
        main, guest = await world.signed_in(), await world.browser()
        await guest.sign_in(provider="partners")
        before = await sockets.connect(guest)
        limits = world.app.settings.limits.model_copy(update={"login_per_minute": 1000})
        await world.app.reload(world.app.settings.model_copy(update={"limits": limits}))
        after, other = await sockets.connect(guest), await sockets.connect(main)
        watcher = await Watcher.opened(world, guest)

        await world.app.reload(world.app.settings.model_copy(update={"more_providers": ()}))
        assert [Close(4401, "the session has ended")] * 2 == [await closing(each) for each in (before, after)]
        (event,) = await watcher.rest()
        assert "provider_removed" == event.data["reason"]
        await other.send("still here")
        assert "still here" == await other.recv()
        assert guest.handle is not None
        with redis_server.client() as client:
            assert not client.exists(f"bff:session:{session_key(guest.handle)}")


@pytest.mark.requirement("T-08")
async def test_a_provider_that_is_away_is_asked_once_for_all(redis_server: RedisServer) -> None:
    """One frontend's failure lets the others leave it alone, and other settings change nothing about that."""
    port = free_port()
    shop = {"name": "shop", "public_url": f"http://127.0.0.1:{port}"}
    async with running_world(redis_server, port=port, frontends=[shop]) as world:
        app = world.app
        away = partial(counted, world, "bff_provider_circuit_open")
        failures = partial(counted, world, 'bff_provider_errors_total{call="refresh"')
        main, guest = await world.signed_in(), await signed_in(world, shop["public_url"])
        world.clock.stop()
        world.issuer.stop()
        world.clock.ahead = 400
        assert [503] == await statuses(main, "/api/x")
        failed = failures()
        assert 1.0 == away()
        page = app.settings.spa.model_copy(update={"error_page": "/error"})
        await app.reload(app.settings.model_copy(update={"spa": page}))
        assert [503, 503] == await statuses(guest, "/api/x", "/api/x")
        assert (failed, 1.0) == (failures(), away())
        world.issuer.start()
        world.clock.ahead += 10
        assert [[200], [200]] == [await statuses(each, "/api/x") for each in (guest, main)]
        assert 0.0 == away()

        world.issuer.stop()
        world.clock.ahead += 400
        assert [503] == await statuses(main, "/api/x")
        other = app.settings.provider.model_copy(update={"scopes": ("openid", "offline_access")})
        await app.reload(app.settings.model_copy(update={"provider": other}))
        assert 0.0 == away()


def counted(world: World, name: str) -> float:
    """The sum of the metrics whose line begins so."""
    lines = [line for line in world.app.metrics.render()[0].decode().splitlines() if line.startswith(name)]
    assert lines, name
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_one_is_put_in_the_place_of_the_first(redis_server: RedisServer) -> None:
    """`server.public_url` named by a section: the one without a name goes, and comes back after it."""
    async with running_world(redis_server) as world:
        main = await world.signed_in()
        named = FrontendSettings(name="named", public_url=world.url)
        await world.app.reload(at_frontends(world.app.settings, named))
        assert world.app.in_force.several is None
        assert [401, 401] == await statuses(main, "/api/x", "/bff/user")
        await world.app.reload(at_frontends(world.app.settings))
        assert [200, 200] == await statuses(main, "/api/x", "/bff/user")


def names(frontends: Sequence[Any]) -> list[str]:
    return [each.name for each in frontends]


async def test_one_that_cannot_be_built_leaves_all_as_they_are(
    redis_server: RedisServer, tmp_path: Any
) -> None:
    """Nothing of it is left: no frontend, no client of a provider, no pool."""
    async with running_world(redis_server) as world:
        app = world.app
        gone = RouteSettings(path="/x", upstream="https://localhost:1", ca_file=tmp_path / "gone.pem")
        first = FrontendSettings(name="first", public_url="http://127.0.0.1:1")
        bad = FrontendSettings(name="bad", public_url="http://127.0.0.1:2", route=(gone,))
        other = app.settings.provider.model_copy(update={"name": "other"})
        before = (app.frontends, app.settings, app.shared.clients.all(), app.shared.pools.all())
        with pytest.raises(NotTakenError, match="cannot be built"):
            await app.reload(at_frontends(app.settings, first, bad, more_providers=(other,)))
        assert before == (app.frontends, app.settings, app.shared.clients.all(), app.shared.pools.all())

        async def drop() -> None:
            app.drop()

        many = at_frontends(app.settings, first, more_providers=(other,))
        refused, _ = await asyncio.gather(app.prepare(many), drop(), return_exceptions=True)
        assert isinstance(refused, NotTakenError)
        assert "were dropped" == str(refused)
        assert before == (app.frontends, app.settings, app.shared.clients.all(), app.shared.pools.all())
        await app.reload(at_frontends(app.settings, first, more_providers=(other,)))
        assert ["", "first"] == names(app.frontends.every)
        assert ["main", "other"] == [client.settings.name for client in app.shared.clients.all()]
        await app.reload(at_frontends(app.settings, more_providers=()))
        assert ["main"] == [client.settings.name for client in app.shared.clients.all()]
