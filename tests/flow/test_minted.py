"""Backends that get a token which the proxy mints: checked as a backend would, by the keys at /bff/jwks."""

import base64
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from bff.crypto import new_secret
from bff.settings.server_keys import ServerKey
from bff.verify import TokenRefusedError, TokenVerifier
from tests.issuer.flow import payload_of
from tests.support.load.warm import Plain
from tests.support.network.backend import Received, Reply
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import JSON, Browser, World, running_world
from tests.support.providers.issuer import BOB

SECRET = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"
ASK = {"BFF-Forward-Auth": SECRET, "X-Forwarded-Method": "GET"}
MINTED = {"token": "minted", "audience": "orders", "claims": ["name", "unknown"]}
STAFF = {"path": "/staff", "token": "minted", "audience": "staff", "allow": {"name": "Alice Liddell"}}


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(
        redis_server,
        route=MINTED,
        routes=[STAFF, {"path": "/plain"}],
        forward_auth={"secrets": [SECRET]},
    ) as world:
        world.reply = tell_token
        yield world


async def tell_token(request: Received) -> Reply:
    """A backend that shows the one token that it got."""
    (value,) = request.values(b"authorization")
    return Reply(body=json.dumps(value.decode().removeprefix("Bearer ")).encode(), headers=[JSON])


async def token_at(browser: Browser, path: str = "/api/orders") -> str:
    answer = await browser.call(path, headers={"Authorization": "Bearer a-token-of-the-client"})
    assert 200 == answer.status_code, answer.text
    return str(answer.json())


def verifier(world: World, audience: str) -> TokenVerifier:
    return TokenVerifier(
        issuer=world.url,
        audience=audience,
        jwks_uri=f"{world.url}/bff/jwks",
        cooldown=0,
        clock=world.clock,
    )


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.requirement("P-09")
async def test_a_backend_can_check_it(world: World) -> None:
    """Issuer, audience, user, claims; the same for the next calls; each backend and session has its own."""
    alice, bob = await world.signed_in(), await world.browser()
    await bob.sign_in(BOB)
    token = await token_at(alice)
    assert {token} == {await token_at(alice) for _ in range(5)}
    async with verifier(world, "orders") as orders, verifier(world, "staff") as staff:
        claims = await orders.verify(token)
        assert ("alice", "spa-bff", 60) == (claims.sub, claims.client_id, claims.exp - claims.iat)
        assert (await alice.user()).json()["session"]["id"] == claims.sid
        assert "Alice Liddell" == claims.rest["name"]
        assert isinstance(claims.rest["auth_time"], int)
        assert "unknown" not in claims.rest
        assert "bob" == (await orders.verify(await token_at(bob))).sub
        assert "alice" == (await staff.verify(await token_at(alice, "/staff"))).sub
        of_provider = await token_at(alice, "/plain")
        for hostile in (token, of_provider):
            with pytest.raises(TokenRefusedError):
                await staff.verify(hostile)
    assert world.issuer.url == payload_of(of_provider)["iss"]
    assert (403, "not_allowed") == refused(await bob.call("/staff"))
    assert {"staff", "orders"} == {
        payload_of(text)["aud"] for text in all_sent(world) if payload_of(text)["iss"] == world.url
    }

    answer = await alice.call("/bff/forward-auth", headers={**ASK, "X-Forwarded-Uri": "/api/x"})
    assert f"Bearer {token}" == answer.headers["authorization"]
    assert 200 == (await alice.call("/bff/logout", "POST")).status_code
    assert 401 == (await alice.call("/api/orders")).status_code


def all_sent(world: World) -> list[str]:
    values = [value for one in world.backend.requests for value in one.values(b"authorization")]
    return [value.decode().removeprefix("Bearer ") for value in values]


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_warm_call_is_on_the_fast_path(world: World, plain: Plain) -> None:
    """Once minted it costs what any token does; a rotation brings another one."""
    browser = await world.signed_in()
    first = await token_at(browser)
    for path in ("/api/orders", "/staff"):
        await token_at(browser, path)
        before = plain.ended_plain
        await token_at(browser, path)
        assert before + 1 == plain.ended_plain
    assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
    assert first != await token_at(browser)


@pytest.mark.usefixtures("both_fronts")
async def test_a_backends_401_is_answered_by_another_one(world: World) -> None:
    """Minted anew, once; the session's own tokens are left alone."""
    browser = await world.signed_in()
    first = await token_at(browser)

    async def picky(request: Received) -> Reply:
        if request.values(b"authorization") == [f"Bearer {first}".encode()]:
            return Reply(status=401)
        return await tell_token(request)

    world.reply = picky
    assert first != await token_at(browser)
    assert 0 == world.refreshes


async def test_keys_are_published_before_they_sign(redis_server: RedisServer) -> None:
    """The next key is there early, the former one for what it has signed; nobody waits for a verifier."""
    former = new_secret()
    async with running_world(redis_server, route=MINTED, session={"keys": [former]}) as world:
        world.reply = tell_token
        browser = await world.signed_in()
        async with verifier(world, "orders") as backend:
            token = await token_at(browser)
            await backend.verify(token)
            answer = await browser.client.get("/bff/jwks")  # no header of ours: a backend asks
            assert (200, "public, max-age=60") == (answer.status_code, answer.headers["cache-control"])
            assert "application/jwk-set+json" == answer.headers["content-type"]
            (before,) = answer.json()["keys"]

            following = ServerKey(new_secret(), signs=world.clock() + 600)
            turn(world, following.line(), former)
            assert kid_of(token) == kid_of(await token_at(browser)) == before["kid"]
            keys = (await browser.client.get("/bff/jwks")).json()["keys"]
            assert before in keys
            assert 2 == len(keys)
            turn(world, following.secret, former)
            world.clock.ahead = 60
            later = await token_at(browser)
            assert kid_of(later) != before["kid"]
            await backend.verify(later)
            world.clock.ahead = 0
            await backend.verify(token)
    async with running_world(redis_server) as world:
        assert 404 == (await (await world.browser()).client.get("/bff/jwks")).status_code


def kid_of(token: str) -> str:
    head = token.partition(".")[0]
    kid: str = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
    return kid


def turn(world: World, *lines: str) -> None:
    """Puts other server keys in force, as a changed file does."""
    keys = type(world.app.settings.session).model_validate({"keys": lines}).keys
    world.app.shared.keys.take(keys)


async def test_sockets_have_it_too(redis_server: RedisServer) -> None:
    """The handshake carries the minted token."""
    async with running_sockets(redis_server, route=MINTED) as sockets:
        browser = await sockets.world.signed_in()
        async with await sockets.connect(browser, "/api/feed") as socket:
            await socket.send("hello")
            assert "hello" == await socket.recv()
            (token,) = sockets.backend.headers.get_all("Authorization")
    assert "orders" == payload_of(token.removeprefix("Bearer "))["aud"]
