"""Other settings, one after the other, while sessions end, are renewed, or wait for their tokens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from bff.settings.model import RouteSettings
from tests.support.device import bound
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.providers.issuer import read_form
from tests.support.wait import until, until_async

pytestmark = pytest.mark.requirement("P-02", "S-10")

SCOPES = (("openid", "profile", "offline_access"), ("openid", "offline_access"))
EXPIRED = 400.0  # seconds: the tokens of these tests live 300
OVER = 331.0  # seconds after which a proof of five minutes is over


@asynccontextmanager
async def changing(world: World) -> AsyncIterator[None]:
    """Meanwhile routes come and go, and the provider's client is another each time."""
    done, count = asyncio.Event(), 0

    async def change() -> None:
        nonlocal count
        settings = world.app.settings
        while not done.is_set():
            count += 1
            more = RouteSettings(path=f"/more{count % 3}", upstream=settings.route[0].upstream)
            provider = settings.provider.model_copy(update={"scopes": SCOPES[count % 2]})
            newer = {"route": (*settings.route, more), "provider": provider}
            assert () != (await world.app.reload(settings.model_copy(update=newer))).changed
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        await until(lambda: count > 0)
        try:
            yield
        finally:
            done.set()
    assert count > 1


async def calls(browsers: list[Browser], path: str = "/api/x") -> set[int]:
    answers = await asyncio.gather(*(browser.call(path) for browser in browsers))
    return {answer.status_code for answer in answers}


async def test_sign_outs_by_the_back_channel(redis_server: RedisServer) -> None:
    """Each session that the provider ends meanwhile has ended, and no other."""
    async with running_world(redis_server, told_of_logouts=True) as world:
        browsers = [await world.signed_in() for _ in range(8)]
        leaving, staying = browsers[:4], browsers[4:]

        async def leave(browser: Browser) -> httpx.Response:
            page = await browser.client.get(f"{world.issuer.url}/end-session")
            action, csrf = read_form(page)
            return await browser.client.post(action, data={"csrf": csrf})

        async with changing(world):
            assert {200} == {(await leave(browser)).status_code for browser in leaving}

            async def ended() -> bool:
                return {401} == await calls(leaving)

            await until_async(ended)
            assert {200} == await calls(staying)
        with redis_server.client() as client:
            assert len(staying) == sum(client.exists(each.session_key) for each in browsers)


async def test_tokens_that_are_waited_for(redis_server: RedisServer) -> None:
    """Every call gets its answer, and each session is refreshed once for all its calls."""
    async with running_world(redis_server) as world:
        browsers = [await world.signed_in() for _ in range(3)]
        world.issuer.seen.delay = 0.2  # seconds that a lock is held
        async with changing(world):
            for number in (1, 2):
                world.clock.ahead = number * EXPIRED
                assert {200} == await calls(browsers * 4)
                assert number * len(browsers) == world.refreshes


async def test_renewals_of_bound_sessions(redis_server: RedisServer) -> None:
    """Each device proves its key, and goes on."""
    async with running_world(
        redis_server,
        session={"device_binding": "offered"},
        routes=[{"path": "/api/payments", "bound": True}],
    ) as world:
        browsers = [await world.signed_in() for _ in range(3)]
        devices = [await bound(browser) for browser in browsers]
        async with changing(world):
            for number in (1, 2):
                world.clock.ahead = number * OVER
                renewed = await asyncio.gather(*(device.refresh() for device in devices))
                assert {200} == {answer.status_code for answer in renewed}
                assert {200} == await calls(browsers, "/api/payments")
