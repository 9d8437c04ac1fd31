"""One route for pages and programs: a session's cookie, or a bearer token that the client brings itself."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from joserfc import jwt

from bff.issuer.keys.keys import SigningKey
from tests.issuer.flow import payload_of
from tests.support.load.warm import Plain
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, World, running_world
from tests.support.providers.issuer import AUDIENCE

KEY = SigningKey.generate()
SECRET = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"
BOTH: dict[str, Any] = {"auth": "session or bearer", "bearer_audience": AUDIENCE, "methods": ["GET", "POST"]}
ROUTES: list[dict[str, Any]] = [
    BOTH | {"path": "/staff", "allow": {"sub": ["client:spa-bff"]}, "headers": {"X-User": "sub"}},
    BOTH | {"path": "/strong", "acr": "mfa", "max_age": "1h"},
    BOTH | {"path": "/rated", "rate_per_session": "2/h"},
    BOTH | {"path": "/other", "bearer_audience": "another"},
    {"path": "/pages"},
]
CLIENT = {"client_credentials": ["orders"]}


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(
        redis_server,
        route=BOTH,
        routes=ROUTES,
        client=CLIENT,
        issuer_key=KEY,
        forward_auth={"secrets": [SECRET]},
    ) as world:
        yield world


async def own_token(world: World) -> str:
    """A token that a program has from the same provider."""
    answer = await (await program(world)).post(
        f"{world.issuer.url}/token",
        data={"grant_type": "client_credentials"},
        auth=(world.issuer.client_id, world.issuer.client_secret),
    )
    return str(answer.json()["access_token"])


async def program(world: World) -> httpx.AsyncClient:
    """The client of a program, which keeps no cookie."""
    if not world.browsers:
        await world.browser()
    assert not world.browsers[0].client.cookies
    return world.browsers[0].client


def forged(token: str, *, key: Any = KEY.private, typ: str = "at+jwt", **changes: Any) -> str:
    claims = {name: value for name, value in {**payload_of(token), **changes}.items() if value is not None}
    return jwt.encode({"alg": "ES256", "kid": KEY.kid, "typ": typ}, claims, key, ["ES256"])


async def call(
    world: World, token: str, path: str = "/api/x", method: str = "GET", **headers: str
) -> httpx.Response:
    """Calls as a program does: with its token, and no header of ours."""
    brought = {"Authorization": f"Bearer {token}".strip(), **headers}
    return await (await program(world)).request(method, path, headers=brought)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.requirement("P-10")
async def test_a_token_goes_on_as_it_is(world: World) -> None:
    """Without the CSRF header, from a foreign origin even; a page's calls go on with its session."""
    token, browser = await own_token(world), await world.signed_in()
    for method in ("GET", "POST"):
        answer = await call(world, token, method=method, Origin="https://evil.example")
        assert 200 == answer.status_code
        assert "no-store" in answer.headers["cache-control"]
        assert [f"Bearer {token}".encode()] == world.backend.requests[-1].values(b"authorization")
    assert 200 == (await browser.call("/api/x")).status_code
    (sent,) = world.backend.requests[-1].values(b"authorization")
    assert "alice" == payload_of(sent.decode().removeprefix("Bearer "))["sub"]
    assert (403, "csrf_rejected") == code(await browser.client.get("/api/x"))
    stranger = await world.browser()
    missing = await stranger.call("/api/x")
    assert (401, "session_missing") == code(missing)
    assert "login_url" in missing.json()
    assert "www-authenticate" not in missing.headers
    basic = await stranger.call("/api/x", headers={"Authorization": "Basic YTpi"})
    assert (401, "session_missing") == code(basic)
    options = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    preflight = await (await program(world)).options("/api/x", headers=options)
    assert 405 == preflight.status_code
    assert not [name for name in preflight.headers if name.startswith("access-control-")]
    before = len(world.backend.requests)
    dropped = await browser.call("/pages/x", headers={"Authorization": f"Bearer {token}"})
    assert 200 == dropped.status_code  # elsewhere a client's own field goes nowhere, as ever
    (sent,) = world.backend.requests[before].values(b"authorization")
    assert token not in sent.decode()


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.requirement("P-10")
async def test_both_at_once_are_refused(world: World) -> None:
    """A living session's cookie, a dead one's, one of any value: 400, and no backend is asked."""
    token, browser = await own_token(world), await world.signed_in()
    for cookie in (f"bff={browser.handle}", "bff=dead", "theme=dark; __Host-Http-bff=x"):
        for more in ({}, CSRF, {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}):
            answer = await call(world, token, Cookie=cookie, **more)
            assert (400, "bearer_and_cookie") == code(answer)
            assert "not both" in answer.json()["detail"]
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", "Basic YTpi")]
    assert (400, "bad_request") == code(await (await program(world)).get("/api/x", headers=twice))
    assert [] == world.backend.requests
    assert 200 == (await call(world, token, Cookie="theme=dark; bff-tx-1=x")).status_code


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.requirement("P-10")
async def test_bad_tokens_are_refused(world: World) -> None:
    """Forged, for others, over, bound to a key: 401 as RFC 6750 has it, and never a way to a sign-in."""
    good = await own_token(world)
    rest = good.partition(".")[2]
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    hostile: dict[str, str] = {
        forged(good, key=SigningKey.generate().private): "signature",
        f"{unsigned}.{rest.partition('.')[0]}.": "algorithm",
        good[:-6] + "AAAAAA": "signature",
        forged(good, aud="another"): "audience",
        forged(good, iss="https://evil.example"): "issuer",
        forged(good, exp=1_000_000_000): "expired",
        forged(good, typ="JWT"): "type",
        "nonsense": "malformed",
        "": "malformed",
    }
    for token, reason in hostile.items():
        answer = await call(world, token, **{"Sec-Fetch-Mode": "navigate", "Accept": "text/html"})
        assert ((401, "invalid_token"), reason) == (code(answer), answer.json()["reason"]), token
        assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
        assert "login_url" not in answer.json()
    bound = await call(world, forged(good, cnf={"jkt": "x" * 43}))
    assert (401, "invalid_token", "bound") == (*code(bound), bound.json()["reason"])
    assert (401, "invalid_token") == code(await call(world, good, "/other/x"))
    assert [] == world.backend.requests


@pytest.mark.usefixtures("both_fronts")
async def test_the_routes_rules_hold(world: World) -> None:
    """Claims, the sign-in's strength and age, and how often, by the user of the token."""
    token = await own_token(world)
    assert 200 == (await call(world, token, "/staff/x", **{"X-User": "root"})).status_code
    assert [b"client:spa-bff"] == world.backend.requests[-1].values(b"x-user")
    assert (403, "not_allowed") == code(await call(world, forged(token, sub="bob"), "/staff/x"))
    weak = await call(world, token, "/strong/x")
    assert (401, "invalid_token", "insufficient_user_authentication") == (*code(weak), weak.json()["reason"])
    demanded = 'Bearer error="insufficient_user_authentication", acr_values="mfa", max_age=3600'
    assert demanded == weak.headers["www-authenticate"]
    strong = forged(token, acr="mfa", auth_time=payload_of(token)["iat"])
    assert 200 == (await call(world, strong, "/strong/x")).status_code
    statuses = [(await call(world, token, "/rated/x")).status_code for _ in range(3)]
    assert [200, 200, 429] == statuses
    assert 200 == (await call(world, forged(token, sub="bob"), "/rated/x")).status_code

    asked = {"BFF-Forward-Auth": SECRET, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x"}
    answer = await call(world, token, "/bff/forward-auth", **asked)
    assert (200, f"Bearer {token}") == (answer.status_code, answer.headers["authorization"])
    assert 401 == (await call(world, token + "x", "/bff/forward-auth", **asked)).status_code


async def test_keys_that_cannot_be_had(world: World) -> None:
    """The provider away from the start: 503 and Retry-After; once its keys are at hand it may be away."""
    token = await own_token(world)
    world.issuer.stop()
    answer = await call(world, token)
    assert (503, "provider_unavailable") == code(answer)
    assert "retry-after" in answer.headers
    world.issuer.start()
    for verifier in world.app.frontend.verifiers._by_rule.values():
        verifier._keys._cooldown = 0  # else a failed fetch rests for a while, as the document's does
    world.clock.ahead = 30
    assert 200 == (await call(world, token)).status_code
    asked = world.issuer.seen.paths().count("/jwks")
    world.issuer.stop()
    assert 200 == (await call(world, token)).status_code
    assert asked == world.issuer.seen.paths().count("/jwks")
    world.issuer.start()


async def test_a_page_stays_on_the_fast_path(world: World, plain: Plain) -> None:
    """On such a route too; a token beside the cookie takes a call off it."""
    token, browser = await own_token(world), await world.signed_in()
    for _ in range(3):
        await browser.call("/api/x")
    before = plain.ended_plain
    assert 200 == (await browser.call("/api/x")).status_code
    assert before + 1 == plain.ended_plain
    answer = await browser.call("/api/x", headers={"Authorization": f"Bearer {token}"})
    assert (400, "bearer_and_cookie") == code(answer)


async def test_sockets_take_tokens_too(redis_server: RedisServer) -> None:
    """A program's handshake needs no Origin of ours; a cookie beside it, or a bad token, has it refused."""
    async with running_sockets(redis_server, route=BOTH, client=CLIENT, issuer_key=KEY) as sockets:
        token, browser = await own_token(sockets.world), await sockets.world.signed_in()

        def brings(text: str) -> Mapping[str, Any]:
            return {"headers": [("Authorization", f"Bearer {text}")], "origin": "https://evil.example"}

        async with await sockets.connect(None, **brings(token)) as socket:
            await socket.send("hello")
            assert "hello" == await socket.recv()
        assert [f"Bearer {token}"] == sockets.backend.headers.get_all("Authorization")
        refused = await sockets.refused(None, **brings(token + "x"))
        assert 401 == refused.status_code
        assert refused.headers["www-authenticate"].startswith("Bearer error=")
        both = await sockets.refused(browser, **brings(token))
        assert (400, "bearer_and_cookie") == (both.status_code, json.loads(both.body or b"{}")["code"])
        assert 403 == (await sockets.refused(None, origin="https://evil.example")).status_code
