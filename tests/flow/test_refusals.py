"""What a refusal leaves alone, and what readiness looks at."""

import pytest

from tests.support.processes.world import CSRF, World
from tests.support.wait import until_async


@pytest.mark.requirement("B-35")
async def test_no_401_touches_the_cookie(world: World) -> None:
    """On every path that knows sessions: a late answer must not clear the cookie of a newer sign-in."""
    browser = await world.signed_in()
    world.redis.cli("DEL", browser.session_key)
    headers = {**CSRF, "Cookie": f"bff={browser.handle}"}
    for method, path in (
        ("GET", "/api/orders"),
        ("GET", "/bff/user"),
        ("GET", "/bff/user?slide=false"),
        ("POST", "/bff/refresh"),
    ):
        answer = await browser.client.request(method, path, headers=headers)
        assert (401, "session_ended") == (answer.status_code, answer.json()["code"]), path
        assert "set-cookie" not in answer.headers
        assert "clear-site-data" not in answer.headers
        assert "no-store" in answer.headers["cache-control"]


async def test_readiness_is_what_sessions_need(world: World) -> None:
    """A Redis that evicts, or takes no writes, would sign people out or let nobody in: not ready."""

    async def ready() -> dict[str, bool]:
        checks = await world.app.readiness()
        return {check.name: check.ok for check in checks if check.name in {"redis", "provider"}}

    await world.signed_in()  # with the provider's documents
    assert {"redis": True, "provider": True} == await ready()
    world.redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert {"redis": False, "provider": True} == await ready()
    world.redis.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
    world.redis.cli("CONFIG", "SET", "min-replicas-to-write", "1")
    assert {"redis": False, "provider": True} == await ready()
    world.redis.cli("CONFIG", "SET", "min-replicas-to-write", "0")
    world.issuer.stop()
    assert {"redis": True, "provider": True} == await ready()  # its documents are kept


async def test_a_provider_that_was_never_reached_is_named(world: World) -> None:
    """Nobody could sign in: the check says so and why, and is not needed."""
    world.issuer.stop()

    async def told() -> bool:
        check = (await world.app.readiness())[-1]
        assert ("provider", False, False) == (check.name, check.ok, check.needed)
        return "cannot be reached" in check.detail

    await until_async(told)
