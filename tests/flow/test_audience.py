"""Backends with a name of their own: each call carries a token that is meant for it, or is not made."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bff.credentials.exchanged_credentials import ExchangedCredentials
from bff.credentials.shared_token_exchange import Outcome
from bff.session.model import Found, OwnToken
from tests.issuer.flow import payload_of
from tests.support.network.backend import Received, Reply
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import JSON, Browser, World, running_world
from tests.support.tasks import background
from tests.support.wait import until

ORDERS = "orders"
EXPIRED = 400  # seconds: the tokens of these tests live 300
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
UNAVAILABLE = (503, "provider_unavailable")


def bearer_of(request: Received) -> str:
    (value,) = [value for name, value in request.headers if name.lower() == b"authorization"]
    return value.decode().removeprefix("Bearer ")


async def tell_token(request: Received) -> Reply:
    """A backend that says for whom the token was that it got, and which one."""
    claims = payload_of(bearer_of(request))
    return Reply(body=json.dumps({"aud": claims["aud"], "jti": claims["jti"]}).encode(), headers=[JSON])


@asynccontextmanager
async def world_of_orders(redis: RedisServer, **session: Any) -> AsyncIterator[World]:
    async with running_world(
        redis, route={"audience": ORDERS}, client={"audiences": [ORDERS]}, session=session
    ) as world:
        world.reply = tell_token
        yield world


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with world_of_orders(redis_server) as world:
        yield world


def exchanges(world: World) -> int:
    return world.issuer.seen.token_calls[EXCHANGE]


async def call(browser: Browser) -> dict[str, Any]:
    answer = await browser.call("/api/orders")
    assert 200 == answer.status_code, answer.text
    document: dict[str, Any] = answer.json()
    assert ORDERS == document["aud"]
    return document


async def refusal(browser: Browser) -> tuple[int, str]:
    answer = await browser.call("/api/orders")
    return answer.status_code, answer.json()["code"]


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.parametrize("near_cache", [True, False])
async def test_a_token_is_exchanged_once(redis_server: RedisServer, near_cache: bool) -> None:
    """Twenty at once, and ten after them, cause one exchange; its token stands sealed in the record."""
    async with world_of_orders(redis_server, near_cache=near_cache) as world:
        browser = await world.signed_in()
        answers = await asyncio.gather(*(call(browser) for _ in range(20)))
        for _ in range(10):
            answers.append(await call(browser))
        assert 1 == len({answer["jti"] for answer in answers})
        assert 1 == exchanges(world)
        assert 30 == len(world.backend.requests)
        sealed = world.redis.cli("HGET", browser.session_key, "exchanged")
        assert sealed
        assert bearer_of(world.backend.requests[0]) not in sealed


async def test_a_call_that_read_too_early(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that read its session before the token was kept takes that token, and exchanges nothing."""
    browser = await world.signed_in()
    (destination,) = world.app.frontend.forwarding.context.destinations.values()
    credentials = destination.credentials.session
    assert isinstance(credentials, ExchangedCredentials)
    exchanger, read = credentials._exchanger, []
    exchange = exchanger.exchange

    async def noted(found: Found, audience: str) -> Outcome:
        read.append(found)
        return await exchange(found, audience)

    monkeypatch.setattr(exchanger, "exchange", noted)
    first = await call(browser)
    (early,) = read
    token = await exchange(early, ORDERS)
    assert isinstance(token, OwnToken)
    assert first["jti"] == payload_of(token.access_token)["jti"]
    assert 1 == exchanges(world)


async def test_a_rotation_drops_it(world: World) -> None:
    """With newer tokens the next call gets another token, in exchange for the newer one."""
    browser = await world.signed_in()
    first = await call(browser)
    assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
    assert "" == world.redis.cli("HGET", browser.session_key, "exchanged")
    second = await call(browser)
    assert first["jti"] != second["jti"]
    assert 2 == exchanges(world)


@pytest.mark.usefixtures("both_fronts")
async def test_it_ends_with_the_sessions_token(world: World) -> None:
    """When the tokens are over both are renewed, within the call."""
    browser = await world.signed_in()
    first = await call(browser)
    world.clock.ahead = EXPIRED
    second = await call(browser)
    assert first["jti"] != second["jti"]
    assert (1, 2) == (world.refreshes, exchanges(world))


@pytest.mark.usefixtures("both_fronts")
async def test_a_401_of_the_backend_is_healed(world: World) -> None:
    """The tokens are rotated, exchanged again, and the call repeated with the new one."""
    browser = await world.signed_in()
    refused: list[str] = []

    async def once(request: Received) -> Reply:
        if not refused:
            refused.append(bearer_of(request))
            return Reply(status=401, headers=[(b"www-authenticate", b'Bearer error="invalid_token"')])
        return await tell_token(request)

    world.reply = once
    again = await call(browser)
    assert payload_of(refused[0])["jti"] != again["jti"]
    assert (1, 2) == (world.refreshes, exchanges(world))


@pytest.mark.usefixtures("both_fronts")
async def test_without_its_own_token_a_call_is_not_made(world: World) -> None:
    """A refused exchange is 503, and rests; the session's own token is never sent in its place."""
    browser = await world.signed_in()
    world.issuer.seen.answer = (400, b'{"error":"invalid_target"}')
    assert UNAVAILABLE == await refusal(browser)
    assert UNAVAILABLE == await refusal(browser)
    assert 1 == exchanges(world)
    assert [] == world.backend.requests
    world.issuer.seen.answer = None
    world.clock.ahead = 40
    assert ORDERS == (await call(browser))["aud"]


@pytest.mark.requirement("T-08")
async def test_a_provider_that_is_down_ends_nobody(world: World) -> None:
    """503 while no token can be had; the one at hand serves on; all is well when the provider is back."""
    browser, other = await world.signed_in(), await world.signed_in()
    await call(other)
    world.issuer.stop()
    assert UNAVAILABLE == await refusal(browser)
    await call(other)
    world.issuer.start()
    world.clock.ahead = 40
    await call(browser)


async def test_a_sign_in_that_is_over_is_said_so(world: World) -> None:
    """When the provider takes the session's token no more, it is renewed; where that fails: sign in again."""
    browser = await world.signed_in()
    world.issuer.seen.answer = (400, b'{"error":"invalid_grant"}')
    answer = await browser.call("/api/orders")
    assert (401, "session_ended", "invalid_grant") == (
        answer.status_code,
        answer.json()["code"],
        answer.json()["reason"],
    )
    assert (1, 1) == (world.refreshes, exchanges(world))
    assert [] == world.backend.requests


async def test_a_subject_that_is_not_taken_is_renewed_once(world: World) -> None:
    """RFC 8693 calls it `invalid_request`: one rotation, one more exchange, and the call goes out."""
    browser = await world.signed_in()
    first = await call(browser)
    forms = [form for _, _, form in world.issuer.seen.requests if "subject_token" in form]
    revoked = payload_of(forms[0]["subject_token"])["jti"]
    world.redis.cli("SET", f"issuer:revoked:jti:{revoked}", "tests", "EX", "60")
    world.redis.cli("HDEL", browser.session_key, "exchanged")
    async with asyncio.timeout(60):
        while first["jti"] == (second := await call(browser))["jti"]:
            pass  # the near cache hears of the HDEL within milliseconds
    assert first["jti"] != second["jti"]
    assert (1, 3) == (world.refreshes, exchanges(world))


@pytest.mark.requirement("B-31")
async def test_an_exchanged_token_that_was_put_back_does_not_open(world: World) -> None:
    """The field of a former version, or of another session, makes the record one that was tampered with."""
    browser, other = await world.signed_in(), await world.signed_in()
    await call(browser)
    await call(other)
    stolen = world.redis.cli("HGET", other.session_key, "exchanged")
    world.redis.cli("HSET", browser.session_key, "exchanged", stolen)

    async with asyncio.timeout(60):
        while (await browser.call("/api/orders")).status_code == 200:
            pass  # the near cache hears of it within milliseconds
    assert (401, "session_ended") == await refusal(browser)


async def test_a_client_that_leaves_does_not_cancel_an_exchange(world: World) -> None:
    """The token comes all the same, and serves the next call."""
    browser = await world.signed_in()
    world.issuer.seen.held = True
    async with background(browser.call("/api/orders")) as going:
        await until(lambda: exchanges(world) == 1)
        going.cancel()
    world.issuer.seen.held = False
    await until(lambda: len(world.app.tasks) == 0)
    assert ORDERS == (await call(browser))["aud"]
    assert 1 == exchanges(world)


async def test_sockets_get_it_too(redis_server: RedisServer) -> None:
    """The handshake carries the backend's own token."""
    async with running_sockets(
        redis_server, route={"audience": ORDERS}, client={"audiences": [ORDERS]}
    ) as sockets:
        browser = await sockets.world.signed_in()
        async with await sockets.connect(browser, "/api/feed") as socket:
            await socket.send("hello")
            assert "hello" == await socket.recv()
            (token,) = sockets.backend.headers.get_all("Authorization")
    assert ORDERS == payload_of(token.removeprefix("Bearer "))["aud"]


async def test_who_is_not_signed_in_needs_none(redis_server: RedisServer) -> None:
    """On an optional route a call without a session goes out without a token, and nothing is exchanged."""
    async with running_world(
        redis_server, route={"audience": ORDERS, "auth": "optional"}, client={"audiences": [ORDERS]}
    ) as world:
        browser = await world.browser()
        assert 200 == (await browser.call("/api/orders")).status_code
        assert 0 == exchanges(world)
        assert [] == [name for name, _ in world.backend.requests[0].headers if name == b"authorization"]


@pytest.mark.parametrize(("lifetime", "again"), [(20, 2), (None, 1), (0, 1), (-5, 1)])
async def test_a_shorter_life_is_kept_to(world: World, lifetime: int | None, again: int) -> None:
    """A token that ends before the session's is got again at its end; one that says none lasts as long."""
    browser = await world.signed_in()
    claims = base64.urlsafe_b64encode(json.dumps({"aud": ORDERS, "jti": "short"}).encode()).decode()
    answer = {"access_token": f"e30.{claims.rstrip('=')}.x", "token_type": "Bearer", "expires_in": lifetime}
    world.issuer.seen.answer = (200, json.dumps(answer).encode())
    for ahead in (0.0, 17.0, 20.5):
        world.clock.ahead = ahead
        assert "short" == (await call(browser))["jti"]
    assert again == exchanges(world)


async def test_tokens_that_have_ended_when_they_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider slower than its tokens live costs a few exchanges and 503, and not a call without end."""
    browser, client = await world.signed_in(), world.app.frontend.providers.default
    claims = base64.urlsafe_b64encode(json.dumps({"aud": ORDERS}).encode()).decode()
    answer = {"access_token": f"e30.{claims.rstrip('=')}.x", "token_type": "Bearer", "expires_in": 10}
    world.issuer.seen.answer = (200, json.dumps(answer).encode())
    exchange = client.exchange_token

    async def late(*token: Any, **proof: Any) -> Any:
        got = await exchange(*token, **proof)
        world.clock.ahead += 11.0
        return got

    monkeypatch.setattr(client, "exchange_token", late)
    refused = await browser.call("/api/orders")
    assert (503, "provider_unavailable") == (refused.status_code, refused.json()["code"])
    assert exchanges(world) <= 5
    assert [] == world.backend.requests


def revoked(world: World) -> list[str]:
    """The tokens that the provider was asked to revoke."""
    return [form["token"] for _, path, form in world.issuer.seen.requests if path == "/revoke"]


@pytest.mark.requirement("P-09")
async def test_a_sign_out_revokes_it(redis_server: RedisServer) -> None:
    """With the session's own, at once; where the provider cannot be reached, a sign-out does not wait."""
    other = {"path": "/stock", "audience": "stock"}
    async with running_world(
        redis_server, route={"audience": ORDERS}, routes=[other], client={"audiences": [ORDERS, "stock"]}
    ) as world:
        world.reply = tell_token
        browser = await world.signed_in()
        for path in ("/api/orders", "/stock"):
            assert 200 == (await browser.call(path)).status_code
        exchanged = [bearer_of(request) for request in world.backend.requests]
        answer = await browser.call("/bff/logout", "POST")
        assert True is answer.json()["provider_revoked"]
        assert 3 == len(revoked(world))
        assert set(exchanged) <= set(revoked(world))
        for token in exchanged:
            assert world.redis.cli("EXISTS", f"issuer:revoked:jti:{payload_of(token)['jti']}") == "1"

        browser = await world.signed_in()
        await browser.call("/api/orders")
        world.issuer.stop()
        answer = await browser.call("/bff/logout", "POST")
        assert (200, False) == (answer.status_code, answer.json()["provider_revoked"])
        assert 401 == (await browser.call("/api/orders")).status_code
        world.issuer.start()


@pytest.mark.requirement("P-09")
async def test_a_token_that_comes_after_the_end_is_revoked(world: World) -> None:
    """The session ends while the exchange is under way: nothing is made again, the token is given back."""
    browser = await world.signed_in()
    world.issuer.seen.held = True
    async with background(browser.call("/api/orders")):
        await until(lambda: exchanges(world) == 1)
        world.redis.cli("DEL", browser.session_key)
        world.issuer.seen.held = False
        await until(lambda: len(revoked(world)) == 1)
    assert "0" == world.redis.cli("EXISTS", browser.session_key)
    assert ORDERS == payload_of(revoked(world)[0])["aud"]
