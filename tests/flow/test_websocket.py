"""WebSockets through the whole proxy: who gets in, and what the backend says to that."""

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Origin, Subprotocol

from bff.embedded import free_port
from tests.support.network.sockets import Sockets, running_sockets, socket_backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.wait import until

USUAL = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)


@pytest.fixture
async def sockets(redis_server: RedisServer) -> AsyncIterator[Sockets]:
    async with running_sockets(redis_server) as sockets:
        yield sockets


def code_of(response: Response) -> tuple[int, str]:
    """Status and code of a problem."""
    assert "application/problem+json" == response.headers["content-type"]
    return response.status_code, json.loads(response.body)["code"]


# Who gets in


@pytest.mark.requirement("B-08", "B-14", "B-15", "B-29")
@pytest.mark.usefixtures("both_fronts")
async def test_messages_both_ways(redis_server: RedisServer) -> None:
    """Text stays text and bytes bytes; the backend has the token and no cookie, the browser has no token."""
    async with running_sockets(redis_server) as sockets:
        browser = await sockets.world.signed_in()
        headers = [("Authorization", "Bearer stolen"), ("X-Real-IP", "192.0.2.7")]
        async with await sockets.connect(browser, "/api/feed?from=7", headers=headers) as socket:
            for message in ("hello", b"\x00\xff", "", "ü" * 5000, b"x" * 70_000):
                await socket.send(message)
                assert message == await socket.recv()
            seen = sockets.backend.headers
            assert "/feed?from=7" == sockets.backend.requests[0].path
            (token,) = seen.get_all("Authorization")
            assert token.startswith("Bearer ey")
            assert [] == seen.get_all("Cookie")
            assert [] == seen.get_all("X-Real-IP")
            assert ["127.0.0.1"] == seen.get_all("X-Forwarded-For")
            assert [] == seen.get_all("Sec-WebSocket-Extensions")
            assert socket.response is not None
            answer = str(socket.response.headers)
            assert token.removeprefix("Bearer ") not in answer
            assert browser.handle is not None
            assert browser.handle not in answer
            assert b"bff_websockets 1.0" in sockets.world.app.metrics.render()[0]
        await until(lambda: b"bff_websockets 0.0" in sockets.world.app.metrics.render()[0])


async def test_no_compression(sockets: Sockets) -> None:
    """Compression is offered by the page, and taken up by nobody."""
    browser = await sockets.world.signed_in()
    async with await sockets.connect(browser, compression="deflate") as socket:
        assert [] == socket.protocol.extensions
        assert [] == sockets.backend.headers.get_all("Sec-WebSocket-Extensions")


@pytest.mark.usefixtures("both_fronts")
async def test_the_page_of_a_development_server_hears_of_edits(redis_server: RedisServer) -> None:
    """What is no route goes to `spa.url`, WebSockets included: signed in or not, without cookie and token."""
    async with (
        socket_backend(subprotocols=["vite-hmr"]) as vite,
        running_world(redis_server, spa={"url": vite.url}) as world,
    ):
        page = Sockets(world, vite)
        for browser in (None, await world.signed_in()):
            async with await page.connect(browser, "/?token=x", subprotocols=["vite-hmr"]) as socket:
                assert "vite-hmr" == socket.subprotocol
                await socket.send("ping")
                assert "ping" == await socket.recv()
            assert ("/?token=x", []) == (vite.requests[-1].path, vite.headers.get_all("Authorization"))
            assert [] == vite.headers.get_all("Cookie")
        answer = await page.refused(None, "/", headers=[("Origin", "https://evil.example")], origin=None)
        assert (403, "csrf_rejected") == code_of(answer)
        answer = await page.refused(None, "/api/feed")  # a route of its own, which takes none
        assert (400, "bad_request") == code_of(answer)


@pytest.mark.requirement("B-29")
async def test_a_foreign_page(sockets: Sockets) -> None:
    """Without exactly one Origin, which is ours, nobody gets in, and the backend hears nothing."""
    browser = await sockets.world.signed_in()
    ours = sockets.world.url
    for origins in (
        [],
        ["null"],
        ["https://evil.example"],
        ["http://localhost"],
        [ours + "/"],
        [ours, ours],
        [ours, "https://evil.example"],
    ):
        headers = [("Origin", origin) for origin in origins]
        answer = await sockets.refused(browser, origin=None, headers=headers)
        assert (403, "csrf_rejected") == code_of(answer), origins
    answer = await sockets.refused(browser, headers=[("Sec-Fetch-Site", "same-site")])
    assert (403, "csrf_rejected") == code_of(answer)
    assert [] == sockets.backend.requests


@pytest.mark.requirement("B-29", "B-32")
async def test_nobody_is_signed_in(sockets: Sockets) -> None:
    """Without a session, with one that is over, with a cookie that stands twice: 401, nothing is called."""
    assert (401, "session_missing") == code_of(await sockets.refused(None))
    browser = await sockets.world.signed_in()
    twice = [("Cookie", f"bff={browser.handle}")]
    assert (401, "session_missing") == code_of(await sockets.refused(browser, headers=twice))
    sockets.world.redis.cli("DEL", browser.session_key)
    await until(lambda: 0 == sockets.world.app.metrics.near_cache.entries)
    assert (401, "session_ended") == code_of(await sockets.refused(browser))
    assert [] == sockets.backend.requests


@pytest.mark.requirement("B-29")
async def test_a_route_without_sign_in(redis_server: RedisServer) -> None:
    """There too a page must be ours; no token goes along."""
    async with running_sockets(redis_server, route={"auth": "none"}) as sockets:
        foreign = await sockets.refused(None, origin=Origin("https://evil.example"))
        assert (403, "csrf_rejected") == code_of(foreign)
        async with await sockets.connect(await sockets.world.signed_in()) as socket:
            await socket.send("hello")
            assert "hello" == await socket.recv()
        assert [] == sockets.backend.headers.get_all("Authorization")


@pytest.mark.requirement("H-02")
async def test_upgrades_that_are_not_served(sockets: Sockets) -> None:
    """Where no route takes WebSockets, an upgrade is refused, and passed to nobody."""
    browser = await sockets.world.signed_in()
    for path in ("/", "/other", "/bff/user", "/api/%2e%2e/x"):
        assert (400, "bad_request") == code_of(await sockets.refused(browser, path)), path
    assert [] == sockets.backend.requests


@pytest.mark.requirement("H-02")
async def test_no_route_takes_any(redis_server: RedisServer) -> None:
    """Without a single `websocket = true` they are refused at once."""
    async with running_sockets(redis_server, route={"websocket": False}) as sockets:
        browser = await sockets.world.signed_in()
        assert (400, "bad_request") == code_of(await sockets.refused(browser))
        assert [] == sockets.backend.requests


@pytest.mark.requirement("H-02")
async def test_malformed_upgrades(sockets: Sockets) -> None:
    """An upgrade that is none is answered, once, and the connection ends; the backend hears nothing."""
    browser = await sockets.world.signed_in()
    rest = b" HTTP/1.1\r\nHost: localhost:%d\r\nOrigin: %b\r\nCookie: bff=%b\r\n" % (
        sockets.world.port,
        sockets.world.url.encode(),
        str(browser.handle).encode(),
    )
    get = b"GET /api/feed" + rest + USUAL
    for request in (
        b"POST /api/feed" + rest + USUAL + b"\r\n",
        get + b"Content-Length: 3\r\n\r\nabc",
        get.replace(b"Version: 13", b"Version: 12") + b"\r\n",
        get.replace(b"Key: MDEy", b"Key: MD") + b"\r\n",
        get + b"Sec-WebSocket-Protocol: a b\r\n\r\n",
        get + b"Sec-WebSocket-Protocol: a, a\r\n\r\n",
        get + b"\r\n\x81\x80abcd",  # a message before the answer
    ):
        assert 400 == await raw_status(sockets, request), request
    assert [] == sockets.backend.requests


async def raw_status(sockets: Sockets, request: bytes) -> int:
    """The status of the one answer that comes before the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sockets.world.port)
    writer.write(request)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    assert 1 == answer.count(b"HTTP/1.1 ")
    return int(answer.split()[1])


async def test_too_many(redis_server: RedisServer) -> None:
    """One session has so many and no more: 429; another one has its own, and a closed one makes room."""
    async with running_sockets(redis_server, route={"websocket_max_sockets": 1}) as sockets:
        browser, other = await sockets.world.signed_in(), await sockets.world.signed_in()
        one, two = await sockets.connect(browser), await sockets.connect(other)
        assert (429, "rate_limited") == code_of(await sockets.refused(browser))
        await one.close()
        await until(lambda: b"bff_websockets 1.0" in sockets.world.app.metrics.render()[0])
        async with await sockets.connect(browser) as again:
            await again.send("hello")
            assert "hello" == await again.recv()
        await two.close()


# What the backend says to the handshake


async def test_subprotocols(redis_server: RedisServer) -> None:
    """The backend chooses among what the page offers, and its choice reaches the page."""
    choose = {"select_subprotocol": lambda _, offered: "v2" if "v2" in offered else None}
    async with running_sockets(redis_server, backend=choose) as sockets:
        browser = await sockets.world.signed_in()
        offered = [Subprotocol("v1"), Subprotocol("v2")]
        async with await sockets.connect(browser, subprotocols=offered) as socket:
            assert "v2" == socket.subprotocol
            assert ["v1, v2"] == sockets.backend.headers.get_all("Sec-WebSocket-Protocol")
        async with await sockets.connect(browser) as socket:
            assert socket.subprotocol is None


async def test_subprotocols_that_carry_a_token(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 20,000 characters passes, for it fits the head; or not at all, where the route drops it."""
    monkeypatch.setattr("websockets.http11.MAX_LINE_LENGTH", 1 << 16)  # the test's backend
    prefix = "base64url.bearer.authorization.k8s.io."
    offered = [Subprotocol(prefix + "x" * 20_000), Subprotocol("base64.binary.k8s.io")]
    choose = {"select_subprotocol": lambda _, offered: offered[-1] if offered else None}
    for dropped, reaches in (([], offered), ([prefix + "*"], offered[1:])):
        route = {"websocket_drop_subprotocols": dropped}
        async with running_sockets(redis_server, backend=choose, route=route) as sockets:
            browser = await sockets.world.signed_in()
            async with await sockets.connect(browser, subprotocols=offered) as socket:
                assert "base64.binary.k8s.io" == socket.subprotocol
                assert [", ".join(reaches)] == sockets.backend.headers.get_all("Sec-WebSocket-Protocol")
            too_long = await sockets.refused(browser, subprotocols=[Subprotocol("x" * 40_000)])
            assert 431 == too_long.status_code


async def test_a_backend_that_refuses(sockets: Sockets) -> None:
    """Its answer is the answer: status, body, and headers that may pass; a redirect is not followed."""
    browser = await sockets.world.signed_in()

    def teapot(socket: ServerConnection, _: Request) -> Response:
        answer = socket.respond(HTTPStatus.IM_A_TEAPOT, "short and stout")
        answer.headers["Set-Cookie"] = "bff=planted"
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.headers["X-Handle"] = "here"
        return answer

    sockets.backend.refusal = teapot
    answer = await sockets.refused(browser)
    assert (418, b"short and stout", "here") == (answer.status_code, answer.body, answer.headers["X-Handle"])
    assert "set-cookie" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers
    assert "private, no-store" == answer.headers["cache-control"]

    def elsewhere(socket: ServerConnection, _: Request) -> Response:
        answer = socket.respond(HTTPStatus.FOUND, "")
        answer.headers["Location"] = sockets.backend.url + "/elsewhere"
        return answer

    sockets.backend.refusal = elsewhere
    assert 302 == await raw_refusal(sockets, f"bff={browser.handle}")
    assert ["/feed", "/feed"] == [request.path for request in sockets.backend.requests]


async def raw_refusal(sockets: Sockets, cookie: str) -> int:
    """The status as it stands on the wire: the client library would follow a redirect."""
    head = (
        f"GET /api/feed HTTP/1.1\r\nHost: localhost:{sockets.world.port}\r\nOrigin: {sockets.world.url}\r\n"
    )
    return await raw_status(sockets, f"{head}Cookie: {cookie}\r\n".encode() + USUAL + b"\r\n")


@pytest.mark.requirement("T-11")
async def test_a_401_is_healed_once(sockets: Sockets) -> None:
    """A backend's 401 rotates the tokens, and the handshake is repeated; a second one passes on, marked."""
    browser = await sockets.world.signed_in()

    def first_only(socket: ServerConnection, _: Request) -> Response | None:
        return socket.respond(HTTPStatus.UNAUTHORIZED, "") if 1 == len(sockets.backend.requests) else None

    sockets.backend.refusal = first_only
    async with await sockets.connect(browser) as socket:
        await socket.send("hello")
        assert "hello" == await socket.recv()
    assert 1 == sockets.world.refreshes
    first, second = (request.headers["Authorization"] for request in sockets.backend.requests)
    assert first != second

    sockets.backend.refusal = lambda socket, _: socket.respond(HTTPStatus.UNAUTHORIZED, "no")
    answer = await sockets.refused(browser)
    assert (401, "1", b"no") == (answer.status_code, answer.headers["BFF-Upstream"], answer.body)
    assert 4 == len(sockets.backend.requests)


@pytest.mark.requirement("H-08")
async def test_a_backend_that_is_not_there(redis_server: RedisServer) -> None:
    """Unreachable, silent, speaking another language: 502, 504, 502, and the page's socket never opens."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with running_sockets(redis_server, route={"upstream": nowhere}) as sockets:
        browser = await sockets.world.signed_in()
        assert (502, "upstream_unreachable") == code_of(await sockets.refused(browser))

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        if not says:
            await reader.read()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        route = {"upstream": url, "response_timeout": 0.5}
        async with running_sockets(redis_server, route=route) as sockets:
            browser = await sockets.world.signed_in()
            for says, expected in (
                (b"", (504, "upstream_timeout")),
                (b"HTTP/1.1 10", (502, "upstream_unreachable")),
                (b"SSH-2.0\r\n\r\n", (502, "upstream_invalid")),
                (b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", (502, "upstream_invalid")),
            ):
                assert expected == code_of(await sockets.refused(browser)), says


async def test_a_client_that_leaves_during_the_handshake(sockets: Sockets) -> None:
    """Its call to the backend is given up."""
    browser = await sockets.world.signed_in()
    asked, gone = asyncio.Event(), asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with running_sockets(sockets.world.redis, route={"upstream": url}) as others:
            browser = await others.world.signed_in()
            opening = asyncio.ensure_future(others.connect(browser))  # noqa: TID251 - to be cancelled
            await asked.wait()
            opening.cancel()
            with pytest.raises((asyncio.CancelledError, InvalidStatus)):
                await opening
            async with asyncio.timeout(60):
                await gone.wait()
