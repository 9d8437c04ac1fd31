"""Behind real reverse proxies with the configurations that the project ships, over TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from bff.embedded import free_port
from tests.support.network.backend import Received, Reply
from tests.support.network.nginx import listens
from tests.support.network.reverse_proxies import Ports, found, running_shipped
from tests.support.network.sockets import socket_backend
from tests.support.network.tls import self_signed
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until

CSRF = {"X-CSRF": "1"}


@pytest.mark.requirement("B-02", "B-04", "B-07", "B-17", "H-04", "H-10")
@pytest.mark.parametrize("name", ["nginx", "caddy", "haproxy"])
async def test_a_shipped_configuration(redis_server: RedisServer, tmp_path: Path, name: str) -> None:
    """Sign-in, calls, events, uploads, WebSockets work; cookies are Secure; the address is the true one."""
    if found(name) is None:
        pytest.skip(f"no {name}")
    tls, plain = free_port(), free_port()
    certificate = self_signed(tmp_path)
    url = f"https://localhost:{tls}"
    async with (
        socket_backend() as sockets,
        running_world(
            redis_server,
            public_url=url,
            server={"trusted_proxies": ["127.0.0.1"]},
            route={"max_body": 8_000_000},
            spa={"url": sockets.url},
        ) as world,
    ):
        world.verify = ssl.create_default_context(cafile=certificate.cert)
        with running_shipped(name, tmp_path, certificate, Ports(tls, plain, world.port)) as process:
            await until(lambda: listens(tls) or process.poll() is not None)
            browser = await world.browser("127.0.0.7")
            await browser.sign_in()
            _cookies(browser)
            await _calls(world, browser)
            await _events(world, browser)
            if (
                name != "caddy"
            ):  # its server resets an HTTP/1.1 connection whose body it has not read to the end
                await _uploads(world, browser)
            await _sign_ins_under_way(browser)
            uri = url.replace("https://", "wss://") + "/feed/7"
            cookie = [("Cookie", f"__Host-Http-bff={browser.handle}")]
            async with connect(
                uri, additional_headers=cookie, origin=Origin(url), ssl=world.verify, proxy=None
            ) as socket:
                await socket.send("hello")
                assert "hello" == await socket.recv()
            moved = await browser.client.get(f"http://localhost:{plain}/orders?a=1")
            assert moved.status_code in {301, 308}
            assert moved.headers["location"].startswith("https://localhost")
            assert moved.headers["location"].endswith("/orders?a=1")


def _cookies(browser: Browser) -> None:
    cookies = [value for answer in browser.answers for value in answer.headers.get_list("set-cookie")]
    (session,) = [value for value in cookies if value.startswith("__Host-Http-bff=")]
    assert session.endswith("; Path=/; HttpOnly; SameSite=Strict; Secure")
    ours = [value for value in cookies if value.startswith("__Host-Http-bff-tx-")]
    assert ours
    assert all("; Secure" in value and "; HttpOnly" in value for value in ours)


async def _calls(world: World, browser: Browser) -> None:
    """The backend learns the true address, whatever the client says of it."""

    async def echo(request: Received) -> Reply:
        return Reply(body=[request.body, b"!"], framing="chunked")

    world.reply = echo
    body = b"x" * 3_000_000
    lies = {
        "X-Forwarded-For": "192.0.2.1",
        "Forwarded": "for=192.0.2.1;proto=http",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
    }
    answer = await browser.client.post("/api/orders", content=body, headers=CSRF | lies)
    assert (200, body + b"!") == (answer.status_code, answer.content)
    seen = world.backend.requests[-1]
    assert [b"127.0.0.7"] == seen.values(b"x-forwarded-for")
    assert [b"https"] == seen.values(b"x-forwarded-proto")
    assert world.url.removeprefix("https://").encode() == seen.values(b"x-forwarded-host")[0]
    assert b"192.0.2.1" not in b"".join(seen.values(b"forwarded"))
    assert 403 == (await browser.client.get("/api/orders")).status_code


async def _events(world: World, browser: Browser) -> None:
    """An event arrives before the next one is made."""
    go_on = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        await go_on.wait()
        yield b"data: two\n\n"

    async def stream(_: Received) -> Reply:
        return Reply(headers=[(b"content-type", b"text/event-stream")], body=events(), framing="chunked")

    world.reply = stream
    remember, browser.client.event_hooks["response"] = browser.client.event_hooks["response"], []
    async with browser.client.stream("GET", "/api/events", headers=CSRF) as answer:
        chunks = answer.aiter_raw()
        assert b"data: one\n\n" == await anext(chunks)
        go_on.set()
        assert b"data: two\n\n" == await anext(chunks)
    browser.client.event_hooks["response"] = remember


async def _uploads(world: World, browser: Browser) -> None:
    """A body that is too large is refused before it has been sent; the refusal arrives."""
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1600):
            sent += 65_536
            yield b"x" * 65_536

    too_large = await browser.client.post("/api/orders", content=pieces(), headers=CSRF)
    assert (413, "body_too_large") == (too_large.status_code, too_large.json()["code"])
    assert world.backend.requests


async def _sign_ins_under_way(browser: Browser) -> None:
    """The cookies of as many as there may be pass, as long as they can be."""
    for _ in range(5):
        await browser.client.get(
            "/bff/login", params={"return_to": "/" + "x" * 1000, "acr_values": "y" * 500}
        )
    answer: httpx.Response = await browser.user()
    assert 200 == answer.status_code
