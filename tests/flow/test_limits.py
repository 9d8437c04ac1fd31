"""Limits on how often: of a route per session and per address, and of the endpoints."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.load.warm import Plain
from tests.support.network.sockets import running_sockets
from tests.support.processes.fleet import HOST, running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.providers.rotating import RotatingProvider, rotating_provider


@asynccontextmanager
async def limited(
    redis: RedisServer, limits: dict[str, Any] | None = None, **route: Any
) -> AsyncIterator[World]:
    async with running_world(redis, route=route, limits=limits or {}) as world:
        yield world


@pytest.mark.requirement("S-08")
@pytest.mark.usefixtures("both_fronts")
async def test_a_session_calls_a_route_so_often(redis_server: RedisServer) -> None:
    """Beyond: 429 with the time to wait and the limit's fields; other sessions have their own."""
    async with limited(redis_server, rate_per_session="3/5h") as world:
        browser, other = await world.signed_in(), await world.signed_in()
        body: dict[str, Any] = {"method": "POST", "content": b"x" * 200_000}
        assert [200, 200] == [(await browser.call("/api/orders")).status_code for _ in range(2)]
        assert 200 == (await browser.call("/api/orders", **body)).status_code
        none: dict[str, Any] = {}
        for options in (none, body):
            refused = await browser.call("/api/orders", **options)
            assert (429, "rate_limited") == (refused.status_code, refused.json()["code"])
            assert '"session:/api";q=3;w=18000' == refused.headers["ratelimit-policy"]
            wait = int(refused.headers["retry-after"])
            assert 5900 < wait <= 6000
            assert f'"session:/api";r=0;t={wait}' == refused.headers["ratelimit"]
        assert 200 == (await other.call("/api/orders")).status_code
        assert 4 == len(world.backend.requests)
        text = world.app.metrics.render()[0].decode()
        assert 'bff_rate_limited_total{limit="session:/api"} 2.0' in text


@pytest.mark.requirement("S-06", "S-08")
async def test_an_operator_gives_a_quota_back(redis_server: RedisServer) -> None:
    """By `redis-cli DEL`, as the README says: a refusal is remembered by a process for a second at most."""
    async with limited(redis_server, rate_per_session="1/5h") as world:
        browser = await world.signed_in()
        assert [200, 429] == [(await browser.call("/api/orders")).status_code for _ in range(2)]
        assert "1" == redis_server.cli("DEL", browser.session_key.replace("session:", "rate:session:/api:"))
        async with asyncio.timeout(60):
            while 200 != (await browser.call("/api/orders")).status_code:  # noqa: ASYNC110 - memory has no event
                await asyncio.sleep(0.05)


@pytest.mark.requirement("S-08")
@pytest.mark.usefixtures("both_fronts")
@pytest.mark.parametrize("auth", ["required", "none"])
async def test_an_address_calls_a_route_so_often(redis_server: RedisServer, auth: str) -> None:
    """All sessions of an address together, and those who are not signed in; another address has its own."""
    async with limited(redis_server, rate_per_address="3/5h", auth=auth) as world:
        browsers = [await world.browser() for _ in range(2)]
        there = await world.browser("127.0.0.2")
        for browser in (*browsers, there):
            await browser.sign_in()
        calls = [await browsers[turn % 2].call("/api/orders") for turn in range(4)]
        assert [200, 200, 200, 429] == [call.status_code for call in calls]
        assert '"address:/api";q=3;w=18000' == calls[3].headers["ratelimit-policy"]
        assert 200 == (await there.call("/api/orders")).status_code


@pytest.mark.requirement("S-08")
async def test_upgrades_count_as_calls(redis_server: RedisServer) -> None:
    """A WebSocket's handshake is one call; its messages are none."""
    async with running_sockets(redis_server, route={"rate_per_session": "2/5h"}) as sockets:
        browser = await sockets.world.signed_in()
        async with await sockets.connect(browser) as socket:
            for _ in range(3):
                await socket.send("hello")
                assert "hello" == await socket.recv()
        assert 426 == (await browser.call("/api/orders")).status_code  # the backend's answer to a plain call
        refused = await sockets.refused(browser)
        assert (429, "rate_limited") == (refused.status_code, json.loads(refused.body)["code"])
        assert '"session:/api";q=2;w=18000' == refused.headers["ratelimit-policy"]


@pytest.mark.requirement("S-08")
@pytest.mark.usefixtures("both_fronts")
async def test_a_limit_fails_open(redis_server: RedisServer) -> None:
    """Redis cannot count: calls go on, and the metric says so; afterwards the limit holds again."""
    async with limited(redis_server, rate_per_session="1/5h") as world:
        browser = await world.signed_in()
        assert [200, 429] == [(await browser.call("/api/orders")).status_code for _ in range(2)]
        redis_server.cli("ACL", "SETUSER", "default", "-time")
        other = await world.signed_in()
        assert [200] * 5 == [(await other.call("/api/orders")).status_code for _ in range(5)]
        text = world.app.metrics.render()[0].decode()
        assert 'bff_limits_unchecked_total{limit="session:/api"} 5.0' in text
        redis_server.cli("ACL", "SETUSER", "default", "+time")
        async with asyncio.timeout(60):
            while 429 != (await other.call("/api/orders")).status_code:  # noqa: ASYNC110 - the pause has no event
                await asyncio.sleep(0.05)


@pytest.mark.requirement("S-08")
async def test_a_route_without_a_limit_pays_nothing(redis_server: RedisServer, plain: Plain) -> None:
    """Its calls stay on the fast path, and nothing is counted; a limited route's count once each."""
    for rate in (None, "100/5h"):
        async with limited(redis_server, rate_per_session=rate) as world:
            browser = await world.signed_in()
            await browser.call("/api/orders")
            sent = plain.ended_plain
            for _ in range(5):
                await browser.call("/api/orders")
            with redis_server.client() as client:
                counts = [math.ceil(client.ttl(key) / 180) for key in client.keys("bff:rate:session:*")]
            expected = (5, []) if rate is None else (0, [6])  # each buys a hundredth of five hours
            assert expected == (plain.ended_plain - sent, counts)


@pytest.mark.requirement("S-08")
async def test_a_user_has_so_many_sessions(redis_server: RedisServer) -> None:
    """A sign-in beyond ends the oldest session, whose page is told the reason."""
    async with running_world(redis_server, session={"max_per_user": 2}) as world:
        first, second = await world.signed_in(), await world.signed_in()
        assert 200 == (await first.call("/api/orders")).status_code
        third = await world.signed_in()
        async with asyncio.timeout(60):
            while (told := await first.call("/api/orders")).status_code == 200:
                pass  # the end is on its way to the near cache
        assert (401, "session_ended") == (told.status_code, told.json()["code"])
        assert "session_limit" == told.json()["reason"]
        assert [200, 200] == [(await each.call("/api/orders")).status_code for each in (second, third)]


@pytest.fixture
def provider() -> Iterator[RotatingProvider]:
    with rotating_provider() as provider:
        yield provider


@pytest.mark.requirement("S-08", "B-30")
async def test_limits_hold_over_all_workers(
    redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path
) -> None:
    """Of many calls and sign-ins at once over three processes exactly so many pass."""
    async with running_fleet(
        redis_server,
        provider,
        tmp_path,
        workers=3,
        valves=False,
        route={"rate_per_session": "7/5h"},
        limits={"login_per_minute": 6},
    ) as fleet:
        member = await fleet.member()
        calls = await asyncio.gather(*(fleet.call(member, worker=turn % 3) for turn in range(60)))
        assert [200] * 7 + [429] * 53 == sorted(call.status for call in calls)
        assert {"", "rate_limited"} == {call.code for call in calls}
        began = time.monotonic()
        page = {"Host": HOST}
        logins = await asyncio.gather(
            *(fleet.clients[turn % 3].get("/bff/login", headers=page) for turn in range(30))
        )
        passed = sum(login.status_code == 302 for login in logins)
        assert 6 <= passed <= 6 + (time.monotonic() - began) / 10
        assert {302, 429} == {login.status_code for login in logins}
        assert {'"login";q=6;w=60'} == {
            login.headers["ratelimit-policy"] for login in logins if login.status_code == 429
        }
