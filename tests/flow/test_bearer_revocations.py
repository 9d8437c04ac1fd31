"""Clients' own tokens that ended before their time, on routes that ask whether they did."""

from typing import Any

import pytest

from tests.flow.test_bearer import BOTH, CLIENT, call, code, own_token, program
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world

pytestmark = pytest.mark.requirement("P-10")


async def revoke(world: World, token: str) -> None:
    """Revokes a token at the issuer, as its client."""
    auth = (world.issuer.client_id, world.issuer.client_secret)
    answer = await (await program(world)).post(
        f"{world.issuer.url}/revoke", data={"token": token, "token_type_hint": "access_token"}, auth=auth
    )
    assert 200 == answer.status_code


async def test_a_revoked_token_is_refused_where_the_route_asks(redis_server: RedisServer) -> None:
    """By the provider or its marks in Redis; where these do not answer no token is believed: 503."""
    marks = {"bearer_revocations": redis_server.url}
    routes: list[dict[str, Any]] = [
        BOTH | {"path": "/asks", "bearer_introspection": True},
        BOTH | {"path": "/listed", **marks},
        BOTH | {"path": "/believes", **marks, "bearer_fresh": "5m"},
    ]
    async with running_world(redis_server, route=BOTH, routes=routes, client=CLIENT) as world:
        token, other, browser = await own_token(world), await own_token(world), await world.signed_in()
        for path in ("/api/x", "/asks/x", "/listed/x", "/believes/x"):
            assert 200 == (await call(world, token, path)).status_code
        await revoke(world, token)
        sent = len(world.backend.requests)
        for path in ("/asks/x", "/listed/x"):
            refused = await call(world, token, path)
            assert (401, "invalid_token", "revoked") == (*code(refused), refused.json()["reason"])
            assert refused.headers["www-authenticate"].endswith('error_description="revoked"')
            assert 200 == (await call(world, other, path)).status_code
            assert 200 == (await browser.call(path)).status_code
        assert 4 == len(world.backend.requests) - sent
        for path in ("/api/x", "/believes/x"):  # asked by nobody, and believed a moment ago
            assert 200 == (await call(world, token, path)).status_code
        world.issuer.stop()
        answer = await call(world, other, "/asks/x")
        assert (503, "provider_unavailable", True) == (*code(answer), "retry-after" in answer.headers)
        assert 200 == (await call(world, other, "/listed/x")).status_code
        redis_server.stop()
        assert (503, "provider_unavailable") == code(await call(world, other, "/listed/x"))
        redis_server.start()
        world.issuer.start()
