"""Rules about claims on routes, and headers made of claims, through the whole proxy."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from joserfc import jwt
from structlog.testing import capture_logs

from bff.embedded import free_port
from bff.issuer.keys.keys import SigningKey
from tests.support.load.warm import Caller, Plain
from tests.support.network.backend import Received, Reply, backend
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world

MAIL = "alice@example.com"
TOLD = {"X-User": "sub", "X-Mail": "email", "X-Amr": "amr", "X-Nobody": "groups"}
ROUTES: list[dict[str, Any]] = [
    {"path": "/staff", "allow": {"groups": ["staff"]}},
    {"path": "/lax", "allow": {"groups": ["staff"]}, "auth": "optional"},
    {"path": "/told", "headers": TOLD, "token": "none", "keep_cookies": True},
    {"path": "/both", "allow": {"email": MAIL}, "headers": {"X_User": "name"}},
]
SCOPES = {"scopes": ["openid", "profile", "email", "offline_access"]}
NOT_ALLOWED = (403, "not_allowed")


@pytest.fixture(params=[True, False], ids=["near", "redis"])
async def world(redis_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with running_world(
        redis_server,
        route={"allow": {"email": [MAIL], "amr": "pwd"}},
        routes=ROUTES,
        provider={**SCOPES, "claims": ["name"]},
        session={"near_cache": request.param},
    ) as world:
        yield world


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def told(request: Received, *names: str) -> list[list[bytes]]:
    """The values of a backend's fields, by names that count `_` as `-`."""
    fields = [(name.lower().replace(b"_", b"-"), value) for name, value in request.headers]
    return [[value for found, value in fields if found == name.encode()] for name in names]


@pytest.mark.requirement("P-07")
@pytest.mark.usefixtures("both_fronts")
async def test_a_rule_decides_before_a_backend_is_asked(world: World) -> None:
    """Who is let in is forwarded; who is not gets 403, on an optional route too, and no backend a call."""
    browser = await world.signed_in()
    for _ in range(3):
        assert 200 == (await browser.call("/api/orders")).status_code
        assert NOT_ALLOWED == refusal(await browser.call("/staff/x"))
        assert NOT_ALLOWED == refusal(await browser.call("/lax/x", "POST"))
    assert ["/orders"] * 3 == [request.target.decode() for request in world.backend.requests]
    nobody = await world.browser()
    assert 200 == (await nobody.call("/lax/x")).status_code
    assert (401, "session_missing") == refusal(await nobody.call("/staff/x"))
    shown = (await browser.call("/bff/user")).json()["claims"]
    assert {"name": "Alice Liddell"} == shown, "a claim that is kept for a rule is shown"


@pytest.mark.requirement("P-07", "H-15")
@pytest.mark.usefixtures("both_fronts")
async def test_headers_from_claims(world: World) -> None:
    """The backend gets them, and no token where none is to go; the client's own copies go nowhere."""
    browser = await world.signed_in()
    forged = {
        "X-User": "root",
        "x_user": "root",
        "X_MAIL": "root",
        "X-Nobody": "root",
        "Authorization": "B x",
    }
    names = ("x-user", "x-mail", "x-amr", "x-nobody", "authorization")
    for _ in range(3):
        assert 200 == (await browser.call("/told/x", headers=forged)).status_code
        assert 200 == (await browser.call("/both/x", headers=forged)).status_code
    for to_told, to_both in zip(world.backend.requests[::2], world.backend.requests[1::2], strict=True):
        (sub,), *others = told(to_told, *names)
        assert sub.isascii()
        assert b"root" != sub
        assert [[MAIL.encode()], [b"pwd"], [], []] == others
        user, *others, token = told(to_both, *names)
        assert [b"Alice Liddell"] == user
        assert [[], [], []] == others, "the backend believes them, by whichever route a call has come"
        assert token[0].startswith(b"Bearer ey")


@pytest.mark.requirement("P-07", "H-15", "P-01")
@pytest.mark.usefixtures("both_fronts")
async def test_no_route_forges_what_another_one_tells(redis_server: RedisServer) -> None:
    """A backend's field goes to it from no client, by no route and frontend; another backend's does."""
    port = free_port()
    async with backend(plainly) as other:
        shop: dict[str, Any] = {"name": "shop", "public_url": f"http://127.0.0.1:{port}"}
        elsewhere = {"path": "/elsewhere", "upstream": other.url, "auth": "none"}
        public = {"path": "/public", "auth": "none"}
        async with running_world(
            redis_server, port=port, routes=[public, elsewhere], frontends=[shop]
        ) as world:
            settings, browser = world.app.settings, await world.browser()
            forged = {"X-User": "root", "x_user": "root"}
            for path in ("/public/x", "/elsewhere/x"):
                await browser.call(path, headers=forged)
            to_other = other.requests[-1], world.backend.requests[-1]
            assert [[[b"root", b"root"]]] * 2 == [told(each, "x-user") for each in to_other]

            tells = settings.route[0].model_copy(update={"path": "/told", "headers": {"X-User": "sub"}})
            own = settings.frontend[0].model_copy(update={"route": (tells,)})
            await world.app.reload(settings.model_copy(update={"frontend": (own,)}))
            for path in ("/public/x", "/api/x", "/elsewhere/x"):
                await browser.call(path, headers=forged)
            assert [[]] == told(world.backend.requests[-1], "x-user")
            assert [[b"root", b"root"]] == told(other.requests[-1], "x-user")
            signed_in = await world.signed_in()
            for _ in range(3):
                assert 200 == (await signed_in.call("/api/x", headers=forged)).status_code
                assert [[]] == told(world.backend.requests[-1], "x-user")
            await world.app.reload(settings)
            await browser.call("/public/x", headers=forged)
            assert [[b"root", b"root"]] == told(world.backend.requests[-1], "x-user")


async def plainly(_: Received) -> Reply:
    return Reply(body=b"{}")


@pytest.mark.requirement("P-07")
async def test_the_fast_path_keeps_to_it(redis_server: RedisServer, plain: Plain) -> None:
    """Calls that a rule lets in are fast; forged copies go nowhere there either, and nobody else gets in."""
    async with running_world(redis_server, routes=ROUTES, provider=SCOPES) as world:
        browser = await world.signed_in()
        await browser.call("/api/orders")
        caller = await Caller.connected(world, browser)
        for path in ("/told/x", "/both/x", "/told/x", "/both/x"):
            caller.writer.write(
                caller.head(f"GET {path} HTTP/1.1", "X-User: root", "X_user: root", "X-Own: 1")
            )
            assert 200 == (await caller.answer()).status
        assert 4 == plain.sent
        assert 0 == plain.fell_back
        first, second = world.backend.requests[-2:]
        assert [] == told(first, "authorization")[0]
        assert b"root" not in first.raw_head + second.raw_head
        assert [[b"1"], [b"Alice Liddell"]] == told(second, "x-own", "x-user")
        caller.writer.write(caller.head("GET /staff/x HTTP/1.1"))
        assert NOT_ALLOWED == (await caller.answer()).code
        assert 4 == plain.sent


@pytest.mark.requirement("P-07")
@pytest.mark.usefixtures("both_fronts")
@pytest.mark.parametrize("near_cache", [True, False])
async def test_who_may_not_sign_in_any_more_is_signed_out_at_a_refresh(
    redis_server: RedisServer, *, near_cache: bool
) -> None:
    """By the claims that it brings: the page is told, the tokens are revoked, and no backend is asked.

    A refreshed ID token that says nothing of a claim ends nothing.
    """
    key = SigningKey.generate()
    async with running_world(
        redis_server,
        issuer_key=key,
        provider={**SCOPES, "claims": ["name"], "allow": {"email": MAIL}},
        session={"near_cache": near_cache},
    ) as world:
        browser = await world.signed_in()
        sub = (await browser.user()).json()["sub"]

        def refresh_brings(**claims: str) -> None:
            world.clock.ahead += 400
            now = world.clock()
            all_of = {"iss": world.issuer.url, "sub": sub, "aud": world.issuer.client_id, **claims}
            told = jwt.encode(key.header("JWT"), {**all_of, "iat": now, "exp": now + 300}, key.private)
            answer = {"access_token": "a", "token_type": "Bearer", "expires_in": 300, "id_token": told}
            world.issuer.seen.answer = (200, json.dumps(answer).encode())

        refresh_brings(name="Alice")
        assert 200 == (await browser.call("/api/orders")).status_code
        refresh_brings(email="alice@elsewhere.example")
        with capture_logs() as lines:
            refused = await browser.call("/api/orders")
        assert (401, "session_ended") == refusal(refused)
        assert "not_allowed" == refused.json()["reason"]
        assert ["not_allowed"] == [line["reason"] for line in lines if line["event"] == "session_ended"]
        assert 1 == len(world.backend.requests)
        assert (401, "session_ended") == refusal(await browser.call("/api/orders"))


async def test_a_401_without_a_token_of_ours(redis_server: RedisServer) -> None:
    """A backend that gets no token says nothing about it by its 401: nothing is rotated, it passes."""
    async with running_world(redis_server, route={"token": "none"}) as world:
        browser = await world.signed_in()
        world.reply = _unauthorized
        for _ in range(2):
            assert 401 == (await browser.call("/api/orders")).status_code
        assert (0, 2) == (world.refreshes, len(world.backend.requests))


async def _unauthorized(_: Received) -> bytes:
    return b"HTTP/1.1 401 X\r\nwww-authenticate: Bearer error=invalid_token\r\ncontent-length: 0\r\n\r\n"


async def test_no_token_is_got_for_who_is_not_let_in(redis_server: RedisServer) -> None:
    """A backend with a token of its own: the rule comes before the exchange; who is let in gets both."""
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    more: list[dict[str, Any]] = [
        {"path": "/out", "audience": "orders", "allow": {"groups": "staff"}},
        {
            "path": "/in",
            "audience": "orders",
            "allow": {"name": "Alice Liddell"},
            "headers": {"X-User": "sub"},
        },
    ]
    async with running_world(redis_server, routes=more, client={"audiences": ["orders"]}) as world:
        browser: Browser = await world.signed_in()
        assert NOT_ALLOWED == refusal(await browser.call("/out/x"))
        assert 0 == world.issuer.seen.token_calls[exchange]
        for _ in range(3):
            assert 200 == (await browser.call("/in/x")).status_code
        assert 1 == world.issuer.seen.token_calls[exchange]
        assert all(told(request, "x-user")[0] for request in world.backend.requests)
        assert NOT_ALLOWED == refusal(await browser.call("/out/x"))


async def test_sockets_are_judged_too(redis_server: RedisServer) -> None:
    """The handshake carries the headers."""
    async with running_sockets(
        redis_server, route={"headers": {"X-User": "name"}, "token": "none"}
    ) as sockets:
        browser = await sockets.world.signed_in()
        async with await sockets.connect(browser, "/api/feed") as socket:
            await socket.send("hello")
            assert "hello" == await socket.recv()
        assert ["Alice Liddell"] == sockets.backend.headers.get_all("X-User")
        assert [] == sockets.backend.headers.get_all("Authorization")
