"""More at once than any one thing has room for: everybody waits a moment, nobody is turned away."""

import asyncio

import httpx
import pytest

from tests.support.processes.world import CSRF, World


@pytest.mark.requirement("T-10")
async def test_more_calls_at_once_than_connections_to_redis(world: World) -> None:
    """A crowd is no outage: 200 calls at once are all answered, though Redis has 50 connections for them."""
    browser = await world.signed_in()
    cookie = {"Cookie": f"bff={browser.handle}"}
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=world.url, limits=limits, timeout=60) as crowd:
        calls = (crowd.get("/api/orders", headers={**CSRF, **cookie}) for _ in range(200))
        answers = await asyncio.gather(*calls)
    assert {200} == {answer.status_code for answer in answers}
