"""Real reverse proxies that forward calls themselves, with the configurations that the project ships."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from bff.embedded import free_port
from tests.issuer.flow import payload_of
from tests.support.network.backend import Received, Reply
from tests.support.network.forward_auth import FORWARD_AUTH, SECRET, running_forward_auth
from tests.support.network.programs import program
from tests.support.network.reverse_proxies import Place
from tests.support.network.sockets import socket_backend
from tests.support.network.tls import self_signed
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until_async

EXPIRED = 400  # seconds: the tokens of these tests live 300
LIES = {
    "Authorization": "Bearer of-the-client",
    "DPoP": "a.proof.of-the-client",
    "X-Forwarded-For": "192.0.2.1",
    "X-Real-IP": "192.0.2.1-of-the-client",
    "X-Client-IP": "192.0.2.1-of-the-client",
    **dict.fromkeys(
        (
            *("True-Client-IP", "Client-IP", "X-Cluster-Client-IP", "X-Forwarded", "Forwarded-For"),
            *("CF-Connecting-IP", "CF-Pseudo-IPv4", "Fastly-Client-IP", "X-Appengine-User-IP"),
            *("X-Forwarded-Prefix", "X-Forwarded-Port", "X-Forwarded-Ssl", "X-Forwarded-Scheme"),
            *("X-Scheme", "X-Url-Scheme", "Front-End-Https", "Proxy-Authorization"),
        ),
        "192.0.2.1-of-the-client",
    ),
    "BFF-Forward-Auth": SECRET[::-1],
    "BFF-Forward-Auth-Route": "/elsewhere",
}
"""What a client may send; the call is made all the same, and none of it arrives."""


@asynccontextmanager
async def behind(name: str, redis: RedisServer, folder: Path, **route: Any) -> AsyncIterator[World]:
    """A world whose browsers go to this reverse proxy; `route` changes its route."""
    program(name)
    tls, certificate, port = free_port(), self_signed(folder), free_port()
    async with running_world(
        redis,
        public_url=f"https://localhost:{tls}",
        server={"trusted_proxies": ["127.0.0.1"]},
        route={"strip_prefix": False, **route},
        forward_auth={"secrets": [SECRET], "hosts": [f"127.0.0.1:{port}"]},
        port=port,
    ) as world:
        world.verify = ssl.create_default_context(cafile=certificate.cert)
        place = Place("127.0.0.1", tls, free_port(), port, certificate, folder)
        with running_forward_auth(name, place, world.backend.port) as process:
            browser = await world.browser()

            async def serves() -> bool:
                assert process.poll() is None, _logs(folder)
                try:
                    return 403 == (await browser.client.get("/bff/user")).status_code
                except httpx.ConnectError:  # it does not listen yet, or has no certificate yet
                    return False

            await until_async(serves)
            yield world


def _logs(folder: Path) -> list[str]:
    return [log.read_text() for log in folder.glob("*.log")]


@pytest.mark.requirement("P-13", "B-08", "B-09", "B-12", "B-14", "B-15", "B-17")
@pytest.mark.parametrize("name", list(FORWARD_AUTH))
async def test_a_shipped_configuration(redis_server: RedisServer, tmp_path: Path, name: str) -> None:
    """Calls go with the session's token and past bff; refusals have its codes; no browser gets a token."""
    async with behind(name, redis_server, tmp_path) as world:
        browser = await world.browser("127.0.0.7")
        signed_out = await browser.call("/api/orders")
        assert (401, "session_missing") == (signed_out.status_code, signed_out.json()["code"])
        await browser.sign_in()
        await _calls(world, browser)
        await _refusals(world, browser)
        world.clock.ahead += EXPIRED
        assert 200 == (await browser.call("/api/orders")).status_code
        assert 1 == world.refreshes
        if name == "nginx":
            await _healed(world, browser)
            await _orders_of_a_backend(world, browser)
        for answer in browser.answers:
            assert "authorization" not in answer.headers


@pytest.mark.requirement("B-15")
@pytest.mark.parametrize("name", list(FORWARD_AUTH))
async def test_a_route_without_sign_in(redis_server: RedisServer, tmp_path: Path, name: str) -> None:
    """The call goes without a token, and without the client's own `Authorization`."""
    async with behind(name, redis_server, tmp_path, auth="none") as world:
        browser = await world.browser()
        assert 200 == (await browser.client.get("/api/orders", headers=LIES)).status_code
        (seen,) = world.backend.requests
        assert b"of-the-client" not in seen.raw_head
        if name != "caddy":  # before 2.9 it writes a placeholder of its own there
            assert [] == seen.values(b"authorization")


@pytest.mark.requirement("S-01")
async def test_a_websocket_goes_to_bff(redis_server: RedisServer, tmp_path: Path) -> None:
    """An upgrade, whose question is refused, goes to bff behind nginx; the socket ends with its session."""
    async with (
        socket_backend() as sockets,
        behind("nginx", redis_server, tmp_path, upstream=sockets.url, websocket=True) as world,
    ):
        browser = await world.signed_in()
        uri = world.url.replace("https://", "wss://") + "/api/feed"
        cookie = [("Cookie", f"__Host-Http-bff={browser.handle}")]
        async with connect(
            uri, additional_headers=cookie, origin=Origin(world.url), ssl=world.verify, proxy=None
        ) as socket:
            await socket.send("hello")
            assert "hello" == await socket.recv()
            world.redis.cli("DEL", browser.session_key)
            await socket.wait_closed()
            assert 4401 == socket.close_code


async def _calls(world: World, browser: Browser) -> None:
    """The backend gets the token in place of what the client says, and nothing of the session."""

    async def answer(request: Received) -> Reply:
        lies = [(b"set-cookie", b"__Host-Http-bff=x; Path=/; Secure"), (b"access-control-allow-origin", b"*")]
        return Reply(body=request.body or b"[]", headers=[*lies, (b"cache-control", b"public")])

    world.reply = answer
    body, sub = b'{"order":7}', (await browser.user()).json()["sub"]
    for method, sent in (("GET", b""), ("POST", body)):
        call = await browser.call("/api/orders?page=2", method, content=sent, headers=LIES)
        assert (200, sent or b"[]") == (call.status_code, call.content)
        assert "private, no-store" == call.headers["cache-control"]
        assert "nosniff" == call.headers["x-content-type-options"]
        assert "sandbox" == call.headers["content-security-policy"]
        assert {"set-cookie", "access-control-allow-origin"}.isdisjoint(call.headers)
        seen = world.backend.requests[-1]
        assert (method.encode(), b"/api/orders?page=2") == (seen.method, seen.target)
        (bearer,) = seen.values(b"authorization")
        assert sub == payload_of(bearer.decode().removeprefix("Bearer "))["sub"]
        assert [] == seen.values(b"traceparent")  # else bff forwarded it
        for own in (b"cookie", b"bff-forward-auth", b"bff-forward-auth-route", b"forwarded"):
            assert [] == seen.values(own)
        assert [b"127.0.0.7"] == seen.values(b"x-forwarded-for")
        assert b"of-the-client" not in seen.raw_head


async def _refusals(world: World, browser: Browser) -> None:
    """What is refused reaches no backend with a token, whatever a client says of its request."""
    before = len(world.backend.requests)
    refused = {
        "csrf_rejected": await browser.client.post("/api/orders", content=b"x"),
        "method_not_allowed": await browser.call("/api/orders", "OPTIONS"),
    }
    for code, answer in refused.items():
        assert code == answer.json()["code"]
    guesses = {
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Uri": "/api/orders",
        "BFF-Forward-Auth": SECRET,
    }
    signed = {"X-CSRF": "1", "Cookie": f"__Host-Http-bff={browser.handle}"}
    async with httpx.AsyncClient(verify=world.verify, base_url=world.url) as outside:
        for path in ("/bff/forward-auth", "/bff/forward-auth?refusal=401", "/bff/forward-auth/api/orders"):
            answer = await outside.get(path, headers=guesses | signed)  # not even to one who knows the secret
            assert (404, None) == (answer.status_code, answer.headers.get("authorization"))
    many = {f"X-Field-{number}": "x" for number in range(250)}
    assert 431 == (await browser.call("/api/orders", headers=many)).status_code
    for name in ("X-Accel-Redirect", "X_Real_IP"):
        answer = await browser.call("/api/orders", headers={name: "192.0.2.1-of-the-client"})
        assert answer.status_code in {200, 400}  # nginx drops the one, and leads the other to bff
    assert [] == [r for r in world.backend.requests[before:] if b"of-the-client" in r.raw_head]
    del world.backend.requests[before:]
    for path in ("/api//orders", "/api/a%2f..%2fb", "/api/%2e%2e/b", "/api/a;x=1/..;/b"):
        assert 400 == (await browser.call(path)).status_code, path
    assert 404 == (await browser.call("/API/orders")).status_code
    assert [] == [r for r in world.backend.requests[before:] if r.values(b"authorization")]
    encoded = await browser.call("/%61pi/orders")  # Traefik decodes it for bff and backend alike
    assert 400 == encoded.status_code or b"/api/orders" == world.backend.requests[-1].target


async def _healed(world: World, browser: Browser) -> None:
    """A call that the backend answers with 401 goes to bff, which refreshes and repeats it, body included."""
    body = b"y" * 30_000

    async def once(request: Received) -> Reply:
        return Reply(401, body=b"no") if world.refreshes == before else Reply(body=request.body or b"[]")

    for method, sent in (("GET", b""), ("POST", body)):
        before, world.reply = world.refreshes, once
        call = await browser.call("/api/orders", method, content=sent)
        assert (200, sent or b"[]") == (call.status_code, call.content)
        assert before + 1 == world.refreshes

    stream = await browser.call("/api/orders", headers={"Accept": "text/event-stream"})
    assert 200 == stream.status_code
    assert world.backend.requests[-1].values(
        b"traceparent"
    )  # bff has forwarded it, and ends it with its session

    async def never(_: Received) -> Reply:
        return Reply(403, body=b"not yours")

    world.reply, count = never, len(world.backend.requests)
    forbidden = await browser.call("/api/orders", "POST", content=b"x")
    assert (403, b"not yours") == (forbidden.status_code, forbidden.content)
    assert 1 == len(world.backend.requests) - count  # no other refusal of a backend's has the call repeated


async def _orders_of_a_backend(world: World, browser: Browser) -> None:
    """A backend cannot lead nginx to the location that the tokens come from."""

    async def order(_: Received) -> Reply:
        return Reply(body=b"mine", headers=[(b"x-accel-redirect", b"/forward-auth")])

    world.reply = order
    answer = await browser.call("/api/orders")
    assert (200, b"mine") == (answer.status_code, answer.content)
    assert 404 == (await browser.call("/forward-auth")).status_code
