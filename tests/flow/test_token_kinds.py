"""Routes with tokens of every kind side by side: each backend sees its own kind, and never another's."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from tests.issuer.flow import payload_of
from tests.support.network.backend import Received
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.providers.issuer import AUDIENCE, BOB

ROUTES: list[dict[str, Any]] = [
    {"path": "/exchange", "audience": "orders"},
    {"path": "/client", "token": "client", "audience": "stock"},
    {"path": "/open", "token": "client", "audience": "open", "auth": "none"},
    {"path": "/minted", "token": "minted", "audience": "billing"},
    {"path": "/bearer", "auth": "session or bearer", "bearer_audience": AUDIENCE},
    {"path": "/none", "token": "none"},
    {"path": "/optional", "token": "minted", "audience": "optional", "auth": "optional"},
]
CLIENT = {"audiences": ["orders", "stock", "open"], "client_credentials": []}


def seen_at(requests: list[Received]) -> dict[str, set[tuple[str, str, str]]]:
    """The issuer, audience and user of all tokens that came to each route's backend."""
    seen: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for request in requests:
        path = request.target.decode()
        for value in request.values(b"authorization"):
            claims = payload_of(value.decode().removeprefix("Bearer "))
            seen[path].add((claims["iss"], claims["aud"], claims["sub"]))
    return seen


async def calls_of(browser: Browser) -> None:
    for _ in range(3):
        answers = await asyncio.gather(*(browser.call(one["path"]) for one in [{"path": "/api"}, *ROUTES]))
        assert {200} == {answer.status_code for answer in answers}


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.requirement("P-09")
async def test_no_token_is_seen_at_another_backend(redis_server: RedisServer) -> None:
    """Two users call all routes at once, again and again, and rotate their tokens in between."""
    routes = [one | {"strip_prefix": False} for one in ROUTES]
    async with running_world(
        redis_server, route={"strip_prefix": False}, routes=routes, client=CLIENT
    ) as world:
        alice, bob = await world.signed_in(), await world.browser()
        await bob.sign_in(BOB)
        await asyncio.gather(calls_of(alice), calls_of(bob))
        assert 200 == (await alice.call("/bff/refresh", "POST")).status_code
        await asyncio.gather(calls_of(alice), calls_of(bob))
        expected = tokens_of(world)
        assert expected == seen_at(world.backend.requests)
        assert 12 == len([one for one in world.backend.requests if one.target == b"/none"])
        stranger = await world.browser()
        assert 200 == (await stranger.call("/optional")).status_code
        assert [] == world.backend.requests[-1].values(b"authorization")


def tokens_of(world: World) -> dict[str, set[tuple[str, str, str]]]:
    provider, ours = world.issuer.url, world.url
    client = "client:spa-bff"

    def users(issuer: str, audience: str) -> set[tuple[str, str, str]]:
        return {(issuer, audience, sub) for sub in ("alice", "bob")}

    return {
        "/api": users(provider, AUDIENCE),
        "/bearer": users(provider, AUDIENCE),
        "/exchange": users(provider, "orders"),
        "/client": {(provider, "stock", client)},
        "/open": {(provider, "open", client)},
        "/minted": users(ours, "billing"),
        "/optional": users(ours, "optional"),
    }
