"""A page can tell a session whose time was up from one that somebody has deleted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until

pytestmark = pytest.mark.usefixtures("both_fronts")


async def code_of(browser: Browser, path: str = "/api/orders") -> tuple[int, str, str]:
    answer = await browser.call(path)
    document = answer.json()
    return answer.status_code, document["code"], document["reason"]


async def gone(world: World, browser: Browser) -> None:
    await until(lambda: world.redis.cli("EXISTS", browser.session_key) == "0")


@asynccontextmanager
async def signed_in(redis: RedisServer, **sections: Any) -> AsyncIterator[tuple[World, Browser]]:
    async with running_world(redis, **sections) as world:
        yield world, await world.signed_in()


@pytest.mark.requirement("B-21")
@pytest.mark.parametrize(
    ("reason", "sections"),
    [
        ("idle", {"session": {"idle_timeout": "2s"}}),
        ("max_lifetime", {"session": {"max_lifetime": "2s"}}),
        ("max_lifetime", {"provider": {"refresh_token_lifetime": "2s"}}),
    ],
)
async def test_a_time_that_was_up(redis_server: RedisServer, reason: str, sections: dict[str, Any]) -> None:
    """Redis has dropped the record by itself: each endpoint says why, as often as it is asked."""
    async with signed_in(redis_server, **sections) as (world, browser):
        await gone(world, browser)
        for path in ("/api/orders", "/bff/user", "/api/orders"):
            assert (401, "session_expired", reason) == await code_of(browser, path)


@pytest.mark.requirement("B-21", "B-22")
@pytest.mark.parametrize("command", ["DEL", "UNLINK"])
async def test_a_session_that_was_deleted(redis_server: RedisServer, command: str) -> None:
    """An operator's deletion is none of these, with a slide or a rotation before it or not."""
    async with signed_in(redis_server, session={"idle_timeout": "600s"}) as (world, browser):
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        world.clock.ahead = 200
        assert 200 == (await browser.call("/api/orders")).status_code
        await until(lambda: len(world.app.tasks) == 0)
        world.redis.cli(command, browser.session_key)
        assert (401, "session_ended", "unknown") == await code_of(browser)


@pytest.mark.requirement("B-21")
async def test_the_reason_is_known_to_the_next_process(redis_server: RedisServer) -> None:
    """It is kept in Redis for an hour, beyond the record, and every key has an end."""
    async with signed_in(redis_server, session={"idle_timeout": "2s"}) as (world, browser):
        mark = f"bff:until:{browser.session_key.rpartition(':')[2][:16]}"
        await gone(world, browser)
        assert world.redis.cli("GET", mark).startswith("1 ")
        assert 3590 <= int(world.redis.cli("TTL", mark)) <= 3602


@pytest.mark.requirement("B-21")
async def test_a_rotation_that_moves_the_end_moves_the_mark(redis_server: RedisServer) -> None:
    """The refresh token's end had cut the session short: after a rotation the mark is of the new end."""
    async with signed_in(redis_server, provider={"refresh_token_lifetime": "100s"}) as (world, browser):
        mark = f"bff:until:{browser.session_key.rpartition(':')[2][:16]}"
        assert 3690 <= int(world.redis.cli("TTL", mark)) <= 3700
        world.clock.ahead = 60
        world.redis.cli("EXPIRE", browser.session_key, "40")
        world.redis.cli("EXPIRE", mark, "3640")
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        assert 90 <= int(world.redis.cli("TTL", browser.session_key)) <= 100
        assert 3690 <= int(world.redis.cli("TTL", mark)) <= 3700
        world.redis.cli("DEL", browser.session_key)
        assert (401, "session_ended", "unknown") == await code_of(browser)
