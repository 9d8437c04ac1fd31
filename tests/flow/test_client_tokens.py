"""Backends that get a token in the proxy's own name: the same for everybody, got once for all processes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bff.app import App
from bff.embedded import free_port
from bff.oidc.requests import ClientGrant
from bff.proxy.forward.credential_after_wait import A_WHILE
from bff.refresh.client_tokens import name_of
from tests.issuer.flow import payload_of
from tests.support.network.backend import Received, Reply
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import JSON, Browser, World, running_world, serving
from tests.support.wait import until

SECRET = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"
EXPIRED = 400  # seconds: the tokens of these tests live 300
GRANT = "client_credentials"
UNAVAILABLE = (503, "provider_unavailable")
OPEN = {"path": "/open", "auth": "none", "token": "client", "audience": "stock", "scopes": ["stock.read"]}
STAFF = {"path": "/staff", "token": "client", "audience": "staff", "allow": {"sub": ["alice"]}}
SHUT = {"path": "/shut", "token": "client", "audience": "shut", "allow": {"sub": ["nobody"]}}
MAYBE = {
    "path": "/maybe",
    "auth": "optional",
    "token": "client",
    "audience": "stock",
    "scopes": ["stock.read"],
}
CLIENT = {"audiences": ["stock", "staff", "shut", "orders"], "client_credentials": ["stock.read", "more"]}
NOT_OURS = {"Authorization": "Bearer a-token-of-the-client"}


def bearers_of(request: Received) -> list[str]:
    return [value.decode().removeprefix("Bearer ") for value in request.values(b"authorization")]


async def tell_token(request: Received) -> Reply:
    """A backend that says what the one token was that it got."""
    (token,) = bearers_of(request)
    return Reply(body=json.dumps(payload_of(token)).encode(), headers=[JSON])


@asynccontextmanager
async def world_of_clients(redis: RedisServer, /, **more: Any) -> AsyncIterator[World]:
    async with running_world(
        redis,
        routes=[OPEN, STAFF, SHUT, MAYBE],
        client=CLIENT,
        forward_auth={"secrets": [SECRET]},
        **more,
    ) as world:
        world.reply = tell_token
        yield world


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with world_of_clients(redis_server) as world:
        yield world


def fetched(world: World) -> int:
    return world.issuer.seen.token_calls[GRANT]


async def claims_at(browser: Browser, path: str) -> dict[str, Any]:
    answer = await browser.call(path, headers=NOT_OURS)
    assert 200 == answer.status_code, answer.text
    assert "private, no-store" == answer.headers["cache-control"]  # no cache has seen a token
    claims: dict[str, Any] = answer.json()
    return claims


async def refusal(browser: Browser, path: str) -> tuple[int, str]:
    answer = await browser.call(path)
    return answer.status_code, answer.json()["code"]


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.requirement("P-09")
async def test_each_route_has_its_own_token(world: World) -> None:
    """One fetch for twenty calls at once and ten after them; every backend sees its own token, no other."""
    stranger, browser = await world.browser(), await world.signed_in()
    seen = await asyncio.gather(*(claims_at(stranger, "/open/x") for _ in range(20)))
    seen += [await claims_at(who, "/open/x") for who in (stranger, browser) for _ in range(5)]
    assert 1 == len({claims["jti"] for claims in seen})
    assert ("client:spa-bff", "stock", "stock.read") == tuple(
        seen[0][name] for name in ("sub", "aud", "scope")
    )
    assert 1 == fetched(world)
    assert (
        seen[0]["jti"]
        == (await claims_at(stranger, "/maybe"))["jti"]
        == (await claims_at(browser, "/maybe"))["jti"]
    )
    assert 1 == fetched(world)

    assert (401, "session_missing") == await refusal(stranger, "/staff")
    assert (403, "not_allowed") == await refusal(browser, "/shut")
    assert 1 == fetched(world)  # none is got for a call that does not go out
    mine = [await claims_at(browser, "/staff") for _ in range(3)]
    assert {("client:spa-bff", "staff", mine[0]["jti"])} == {
        tuple(one[name] for name in ("sub", "aud", "jti")) for one in mine
    }
    assert "alice" == (await claims_at(browser, "/api/orders"))["sub"]
    assert 2 == fetched(world)

    names = world.redis.cli("--scan", "--pattern", "bff:client:*").split()
    assert 2 == len(names)
    sent = {bearers_of(one)[0] for one in world.backend.requests}
    for name in names:
        assert 0 < int(world.redis.cli("TTL", name)) <= 300
        sealed = world.redis.cli("GET", name)
        assert not [token for token in sent if token in sealed]


@pytest.mark.requirement("P-09")
async def test_a_value_that_was_swapped_is_not_used(world: World) -> None:
    """Redis' writer puts one backend's token in another one's place: it does not open, and is got anew."""
    stranger, browser = await world.browser(), await world.signed_in()
    await claims_at(stranger, "/open/x")
    (stock,) = world.redis.cli("--scan", "--pattern", "bff:client:*").split()
    await claims_at(browser, "/staff")
    (staff,) = set(world.redis.cli("--scan", "--pattern", "bff:client:*").split()) - {stock}
    world.redis.cli("SET", staff, world.redis.cli("GET", stock))
    async with second_of(world) as second:
        second.client.cookies.set("bff", browser.handle or "", domain="localhost.local")
        assert "staff" == (await claims_at(second, "/staff"))["aud"]
        assert 3 == fetched(world)
        world.redis.cli("SET", stock, "1.nonsense")
        assert "stock" == (await claims_at(second, "/open/x"))["aud"]
        assert 4 == fetched(world)


@asynccontextmanager
async def second_of(world: World) -> AsyncIterator[Browser]:
    """A client of a second process of the same deployment."""
    port = free_port()
    async with serving(App(world.app.settings, clock=world.clock), port):
        there = Browser(f"http://localhost:{port}")
        there.client.headers["Host"] = world.url.partition("//")[2]
        async with there.client:
            yield there


async def test_two_processes_fetch_once(world: World) -> None:
    """Calls of both at once, with the provider slow: one fetches, the other waits for what it keeps."""
    here = await world.browser()
    async with second_of(world) as there:
        world.issuer.seen.held = True
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(claims_at(who, "/open/x")) for _ in range(5) for who in (here, there)]
            await until(lambda: fetched(world) == 1)
            world.issuer.seen.held = False
        assert 1 == len({call.result()["jti"] for call in calls})
    assert 1 == fetched(world)
    assert [] == world.redis.cli("--scan", "--pattern", "bff:lock:*").split()


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.parametrize("path", ["/open/x", "/staff"])
async def test_a_401_of_the_backend_is_healed_once(world: World, path: str) -> None:
    """The token is dropped, another one got, and the call repeated; the session's tokens are left alone."""
    browser = await world.signed_in()
    first = await claims_at(browser, path)
    refused: list[str] = []

    async def picky(request: Received) -> Reply:
        (token,) = bearers_of(request)
        if payload_of(token)["jti"] in (first["jti"], *refused):
            return Reply(status=401, headers=[(b"www-authenticate", b'Bearer error="invalid_token"')])
        return await tell_token(request)

    world.reply = picky
    second = await claims_at(browser, path)
    assert first["jti"] != second["jti"]
    assert second["jti"] == (await claims_at(browser, path))["jti"]
    assert (2, 0) == (fetched(world), world.refreshes)
    refused.append(second["jti"])
    async with second_of(world) as there:  # which finds in Redis the one that is refused by now
        there.client.cookies.set("bff", browser.handle or "", domain="localhost.local")
        assert second["jti"] != (await claims_at(there, path))["jti"]
    assert 3 == fetched(world)

    async def never(_: Received) -> Reply:
        return Reply(status=401)

    world.reply = never
    answer = await browser.call(path)
    assert (401, "1") == (answer.status_code, answer.headers["bff-upstream"])


async def test_it_is_renewed_beside_the_calls(world: World) -> None:
    """Before its end a call goes out with the token at hand, and the next one is got meanwhile."""
    stranger = await world.browser()
    first = await claims_at(stranger, "/open/x")
    world.clock.ahead = 280  # of 300; the leeway is 30
    assert first["jti"] == (await claims_at(stranger, "/open/x"))["jti"]
    await until(lambda: fetched(world) == 2 and len(world.app.tasks) == 0)
    assert first["jti"] != (await claims_at(stranger, "/open/x"))["jti"]
    assert 2 == fetched(world)


@pytest.mark.requirement("T-08")
async def test_a_provider_that_is_down(world: World) -> None:
    """The token at hand serves until its end, in a new process too; then 503, until the provider is back."""
    stranger = await world.browser()
    first = await claims_at(stranger, "/open/x")
    world.issuer.stop()
    world.clock.ahead = 280
    assert first["jti"] == (await claims_at(stranger, "/open/x"))["jti"]
    async with second_of(world) as there:
        assert first["jti"] == (await claims_at(there, "/open/x"))["jti"]
    world.clock.ahead = EXPIRED
    assert UNAVAILABLE == await refusal(stranger, "/open/x")
    world.issuer.start()
    world.clock.ahead = EXPIRED + 40
    assert first["jti"] != (await claims_at(stranger, "/open/x"))["jti"]


async def test_a_refusal_rests(world: World) -> None:
    """A scope that the provider does not give is 503, and is not asked for with each call."""
    stranger = await world.browser()
    world.clock.stop()
    world.issuer.seen.answer = (400, b'{"error":"invalid_scope"}')
    for _ in range(3):
        assert UNAVAILABLE == await refusal(stranger, "/open/x")
    assert 1 == fetched(world)
    assert [] == world.backend.requests


async def test_without_redis_a_process_fetches_for_itself(redis_server: RedisServer) -> None:
    """A route that needs no session goes on: one fetch for all calls of the process."""
    async with world_of_clients(redis_server) as world:
        stranger = await world.browser()
        world.redis.cli("CONFIG", "SET", "maxmemory", "1")  # nothing can be written
        try:
            seen = await asyncio.gather(*(claims_at(stranger, "/open/x") for _ in range(5)))
        finally:
            world.redis.cli("CONFIG", "SET", "maxmemory", "0")
        assert 1 == len({claims["jti"] for claims in seen})
        assert 1 == fetched(world)


async def test_sockets_and_forward_auth_have_it_too(redis_server: RedisServer) -> None:
    """A handshake carries it, with and without a session; a reverse proxy is told it as well."""
    own = {"token": "client", "audience": "stock", "websocket": True}
    async with running_sockets(
        redis_server,
        route=own | {"auth": "optional"},
        client=CLIENT,
        forward_auth={"secrets": [SECRET]},
    ) as sockets:
        stranger, browser = await sockets.world.browser(), await sockets.world.signed_in()
        for who in (stranger, browser):
            async with await sockets.connect(who, "/api/feed") as socket:
                await socket.send("hello")
                assert "hello" == await socket.recv()
                (token,) = sockets.backend.headers.get_all("Authorization")
            assert "stock" == payload_of(token.removeprefix("Bearer "))["aud"]
            asked = {"BFF-Forward-Auth": SECRET, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x"}
            answer = await who.call("/bff/forward-auth", headers=asked)
            assert token == answer.headers["authorization"]
        assert 1 == fetched(sockets.world)


async def test_a_token_that_ends_while_its_call_waits(redis_server: RedisServer) -> None:
    """A call that queues for a connection goes out with a token that is good then."""
    async with running_world(
        redis_server, routes=[OPEN | {"max_connections": 1, "queue_timeout": "60s"}], client=CLIENT
    ) as world:
        let_go = asyncio.Event()

        async def slow(request: Received) -> Reply:
            await let_go.wait()
            return await tell_token(request)

        world.reply = slow
        stranger = await world.browser()
        pool = world.app.frontend.forwarding.context.destinations[b"/open"].pool
        async with asyncio.TaskGroup() as group:
            first = group.create_task(claims_at(stranger, "/open/x"))
            await until(lambda: len(world.backend.requests) == 1)
            second = group.create_task(claims_at(stranger, "/open/x"))
            await until(lambda: pool.stats().waiting == 1)
            world.clock.ahead = EXPIRED
            let_go.set()
        assert first.result()["jti"] != second.result()["jti"]
        assert 2 == fetched(world)


@pytest.mark.parametrize("path", ["/open/x", "/staff"])
async def test_a_401_when_no_other_token_can_be_had(world: World, path: str) -> None:
    """503 where the backend said that the token is invalid; else its own answer, and no call without end."""
    browser = await world.signed_in()
    await claims_at(browser, path)
    challenge = [(b"www-authenticate", b'Bearer error="invalid_token"')]

    async def never(_: Received) -> Reply:
        return Reply(status=401, headers=challenge)

    world.reply = never
    world.issuer.seen.answer = (400, b'{"error":"invalid_scope"}')
    assert UNAVAILABLE == await refusal(browser, path)
    assert 2 == fetched(world)
    world.issuer.seen.answer = None
    world.clock.ahead = 40  # the refusal has rested
    challenge.clear()
    before = len(world.backend.requests)
    assert 401 == (await browser.call(path)).status_code
    assert before + 2 == len(world.backend.requests)


async def test_redis_left_in_disorder(world: World) -> None:
    """A process died with the lock, somebody put a list in the token's place: waited out, and made good."""
    stranger, name = (
        await world.browser(),
        name_of(world.app.settings.provider, ClientGrant(("stock.read",), (), "stock")),
    )
    world.redis.cli("SET", f"bff:lock:client:{name}", "dead", "PX", "300")
    first = await claims_at(stranger, "/open/x")
    assert "string" == world.redis.cli("TYPE", f"bff:client:{name}")
    world.redis.cli("DEL", f"bff:client:{name}")
    world.redis.cli("RPUSH", f"bff:client:{name}", "x")
    world.clock.ahead = EXPIRED
    assert first["jti"] != (await claims_at(stranger, "/open/x"))["jti"]
    assert ("string", 2) == (world.redis.cli("TYPE", f"bff:client:{name}"), fetched(world))


async def test_a_token_that_ends_while_a_body_comes(world: World) -> None:
    """A call whose body took a while goes out with a token that is good then, and once."""
    stranger = await world.browser()
    await claims_at(stranger, "/open/x")  # its connection is idle: nothing else has a reason to look again

    under_way = world.app.frontend.forwarding.context.callers.calls_of_address

    async def slowly() -> AsyncIterator[bytes]:
        yield b"one"
        await until(lambda: len(under_way) == 1)
        await asyncio.sleep(2 * A_WHILE)
        world.clock.ahead = EXPIRED
        yield b"two"

    answer = await stranger.call("/open/x", "POST", content=slowly())
    assert (200, 2) == (answer.status_code, fetched(world))
    _, request = world.backend.requests
    assert b"onetwo" == request.body
