"""What passes between a browser and a backend, on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, World, running_world
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = pytest.mark.usefixtures("both_fronts")


async def raw(world: World, request: bytes) -> bytes:
    """Sends bytes, and returns all that comes until the proxy hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(request)
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.requirement("H-04")
async def test_events_arrive_as_they_are_sent(world: World) -> None:
    """A server-sent event reaches the page before the next one is made."""
    go_on = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        await go_on.wait()
        yield b"data: two\n\n"

    async def stream(_: Received) -> Reply:
        return Reply(headers=[(b"content-type", b"text/event-stream")], body=events(), framing="chunked")

    world.reply = stream
    browser = await world.signed_in()
    browser.client.event_hooks["response"].clear()
    async with browser.client.stream("GET", "/api/events", headers=CSRF) as answer:
        assert "no" == answer.headers["x-accel-buffering"]  # for an nginx in front, which buffers by default
        chunks = answer.aiter_raw()
        assert b"data: one\n\n" == await anext(chunks)
        go_on.set()
        assert b"data: two\n\n" == await anext(chunks)


@pytest.mark.requirement("H-06")
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_truncated_answer_is_visibly_broken(world: World, framing: str) -> None:
    """A backend that dies in the middle breaks the client's answer; it never ends cleanly."""

    async def dying(_: Received) -> Reply | bytes:
        if framing == "chunked":
            return Reply(body=[b"half", b"never"], framing="chunked", cut_after=1)
        return b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf"

    async def handler(request: Received) -> Reply | bytes | None:
        reply = await dying(request)
        if isinstance(reply, bytes):
            asyncio.get_running_loop().call_later(0.05, world.backend.cut_all)
        return reply

    world.reply = handler
    browser = await world.signed_in()
    with pytest.raises(httpx.RemoteProtocolError):
        await browser.call("/api/orders")


@pytest.mark.requirement("H-05")
async def test_answers_without_a_body(world: World) -> None:
    """HEAD keeps its length, 204 and 304 end at once, a redirect is passed on and not followed."""

    async def handler(request: Received) -> Reply | bytes:
        match request.target:
            case b"/head":
                return b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n"
            case b"/none":
                return Reply(204)
            case b"/same":
                return b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\ncontent-length: 1234\r\n\r\n'
            case b"/early":
                hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
                return hints + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            case b"/close":
                return Reply(body=b"until the end", framing="close")
            case _:
                return Reply(302, [(b"location", b"http://elsewhere.example/")])

    world.reply = handler
    browser = await world.signed_in()
    head = await browser.call("/api/head", "HEAD")
    assert (200, "1234", b"") == (head.status_code, head.headers["content-length"], head.content)
    assert 204 == (await browser.call("/api/none")).status_code
    same = await browser.call("/api/same")
    assert (304, '"a"') == (same.status_code, same.headers["etag"])
    assert (200, b"ok") == ((early := await browser.call("/api/early")).status_code, early.content)
    assert b"until the end" == (await browser.call("/api/close")).content
    moved = await browser.call("/api/moved")
    assert (302, "http://elsewhere.example/") == (moved.status_code, moved.headers["location"])


@pytest.mark.requirement("B-34", "H-01")
async def test_a_backend_cannot_open_the_origin(world: World) -> None:
    """CORS, Clear-Site-Data, worker scope, our cookie: dropped; cache, sniffing, scripts: shut."""

    async def handler(_: Received) -> Reply:
        return Reply(
            headers=[
                (b"content-type", b"text/html"),
                (b"access-control-allow-origin", b"*"),
                (b"clear-site-data", b'"*"'),
                (b"service-worker-allowed", b"/"),
                (b"set-cookie", b"bff=stolen; Path=/"),
                (b"set-cookie", b"theme=dark"),
                (b"cache-control", b"public, max-age=3600"),
                (b"connection", b"x-internal"),
                (b"x-internal", b"1"),
                (b"bff-upstream", b"1"),
            ],
            body=b"<script>alert(1)</script>",
        )

    world.reply = handler
    browser = await world.signed_in()
    answer = await browser.call("/api/page")
    shown = {
        name: answer.headers.get(name)
        for name in ("cache-control", "x-content-type-options", "content-security-policy", "set-cookie")
    }
    assert {
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
        "set-cookie": "theme=dark",
    } == shown
    for name in ("access-control-allow-origin", "clear-site-data", "service-worker-allowed", "x-internal"):
        assert name not in answer.headers
    assert "bff-upstream" not in answer.headers


@pytest.mark.requirement("H-03")
async def test_a_long_body_streams_both_ways(world: World) -> None:
    """Eight megabytes of chunks arrive as they were sent, and come back; the backend was asked first."""

    async def echo(request: Received) -> Reply:
        return Reply(body=request.body)

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(128):
            yield bytes([number]) * 65536

    world.reply = echo
    browser = await world.signed_in()
    answer = await browser.call("/api/upload", "POST", content=chunks())
    assert b"".join([bytes([number]) * 65536 for number in range(128)]) == answer.content
    assert [b"100-continue"] == world.backend.requests[0].values(b"expect")


@pytest.mark.requirement("T-11")
async def test_a_body_that_cannot_be_repeated(world: World) -> None:
    """Too long for the buffer and spent: the tokens are renewed for the next call, and the 401 says so."""
    first: list[bytes] = []

    async def handler(request: Received) -> Reply:
        token = request.values(b"authorization")[0]
        first[:] = first or [token]
        return Reply(401) if token == first[0] else Reply(body=b"ok")

    world.reply = handler
    browser = await world.signed_in()
    answer = await browser.call("/api/upload", "POST", content=b"x" * 300_000)
    assert (401, "1", "1") == (
        answer.status_code,
        answer.headers["bff-upstream"],
        answer.headers["bff-retry"],
    )
    again = await browser.call("/api/upload", "POST", content=b"x" * 300_000)
    assert (200, 1) == (again.status_code, world.refreshes)


async def test_bodies_have_a_limit(redis_server: RedisServer) -> None:
    """A body over `max_body` is refused, whether its length is told or not."""
    async with running_world(redis_server, route={"max_body": 1000}) as world:
        browser = await world.signed_in()

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 500

        for content in (b"x" * 1001, chunks()):
            answer = await browser.call("/api/upload", "POST", content=content)
            assert (413, "body_too_large") == (answer.status_code, answer.json()["code"])
        assert 200 == (await browser.call("/api/upload", "POST", content=b"x" * 1000)).status_code


@pytest.mark.requirement("H-08")
async def test_a_backends_faults_have_their_codes(redis_server: RedisServer) -> None:
    """Silent: 504; no HTTP: 502; gone: 502. And the next good answer gets through."""
    hang = asyncio.Event()

    async def handler(request: Received) -> Reply | bytes | None:
        match request.target:
            case b"/never":
                await hang.wait()
            case b"/garbage":
                return b"SMTP/1.0 220 hello\r\n\r\n"
            case b"/gone":
                return None
        return Reply(body=b"fine")

    silent = {"path": "/api/silent", "response_timeout": 0.3}
    async with running_world(redis_server, routes=[silent]) as world:
        world.reply = handler
        browser = await world.signed_in()
        for path, status, code in (
            ("/api/silent/never", 504, "upstream_timeout"),
            ("/api/garbage", 502, "upstream_invalid"),
            ("/api/gone", 502, "upstream_unreachable"),
        ):
            answer = await browser.call(path)
            assert (status, code) == (answer.status_code, answer.json()["code"])
        assert b"fine" == (await browser.call("/api/orders")).content
        hang.set()


@pytest.mark.requirement("B-12", "B-13")
@pytest.mark.server_only
async def test_paths_and_methods_outside_the_settings(world: World) -> None:
    """Tricks with the path are 400, unknown methods 405 with Allow, unknown places 404: never forwarded."""
    browser = await world.signed_in()
    host = urlsplit(world.url).netloc
    head = f"Host: {host}\r\nX-CSRF: 1\r\nCookie: bff={browser.handle}\r\nConnection: close\r\n\r\n"
    tricks = [
        "/api/../x",
        "/api/./x",
        "/api//x",
        "/api/..;/x",
        "/api/%2e%2e/x",
        "/api/%252e%252e/x",
        "/api/a%5cb",
    ]
    for path in [*tricks, "/api/%2fx", "/api/\\x", "/api/%00", "http://evil.example/api/orders"]:
        answer = await raw(world, f"GET {path} HTTP/1.1\r\n{head}".encode())
        assert answer.startswith(b"HTTP/1.1 400 "), path
    answer = await raw(world, f"GET /apiary HTTP/1.1\r\n{head}".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    refused = await browser.call("/api/orders", "PROPFIND")
    assert (405, "method_not_allowed") == (refused.status_code, refused.json()["code"])
    assert "PATCH" in refused.headers["allow"]
    preflight = await browser.client.options(
        "/api/orders", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert 405 == preflight.status_code
    assert "access-control-allow-origin" not in preflight.headers
    assert [] == world.backend.requests


@pytest.mark.requirement("H-07")
async def test_a_connection_that_went_stale_is_replaced(world: World) -> None:
    """The backend closes an idle connection: the next call goes over a new one, unseen by the client."""
    browser = await world.signed_in()
    assert 200 == (await browser.call("/api/orders")).status_code
    world.backend.cut_all()
    assert 200 == (await browser.call("/api/orders")).status_code
    assert 2 == world.backend.connections


async def test_a_client_that_leaves_frees_the_backend(world: World) -> None:
    """The backend's connection is dropped, and no count is left behind."""
    arrived, left = asyncio.Event(), asyncio.Event()

    async def handler(_: Received) -> Reply | None:
        arrived.set()
        await left.wait()
        return None

    world.reply = handler
    browser = await world.signed_in()
    async with background(browser.call("/api/slow")), asyncio.timeout(60):
        await arrived.wait()
    _, pool = world.app.shared.pools.all()[0]
    await until(lambda: pool.stats().open == 0)
    left.set()
    await until(lambda: len(world.app.tasks) == 0)


async def test_optional_routes_are_anonymous_without_a_session(redis_server: RedisServer) -> None:
    """No session or no CSRF header: no token; both: a token; a foreign page with the header: refused."""
    async with running_world(redis_server, route={"auth": "optional"}) as world:
        nobody = await world.browser()
        assert 200 == (await nobody.call("/api/news")).status_code
        browser = await world.signed_in()
        assert 200 == (await browser.client.get("/api/news")).status_code
        assert 200 == (await browser.call("/api/news")).status_code
        foreign = await browser.call("/api/news", headers={"Origin": "https://evil.example"})
        assert 403 == foreign.status_code
        sent = [bool(request.values(b"authorization")) for request in world.backend.requests]
        assert [False, False, True] == sent


@pytest.mark.requirement("B-11")
async def test_navigation_routes_need_a_same_origin_fetch(redis_server: RedisServer) -> None:
    """An image of ours loads without the header; from elsewhere, an old browser, by POST it does not."""
    async with running_world(redis_server, route={"csrf": "navigation"}) as world:
        browser = await world.signed_in()
        site = "Sec-Fetch-Site"
        assert 200 == (await browser.client.get("/api/a.png", headers={site: "same-origin"})).status_code
        for headers in ({site: "cross-site"}, {site: "same-site"}, {site: "none"}, {}):
            assert 403 == (await browser.client.get("/api/a.png", headers=headers)).status_code
        assert 403 == (await browser.client.post("/api/a.png", headers={site: "same-origin"})).status_code
        assert 1 == len(world.backend.requests)


async def test_the_csrf_headers_name_can_be_chosen(redis_server: RedisServer) -> None:
    """Calls carry it, backends never see it, and the page's module knows it."""
    async with running_world(redis_server, session={"csrf_header": "X-Ours"}) as world:
        browser = await world.signed_in()
        assert 403 == (await browser.call("/api/orders")).status_code
        assert 200 == (await browser.client.get("/api/orders", headers={"X-Ours": "1"})).status_code
        assert [] == world.backend.requests[0].values(b"x-ours")
        module = (await browser.client.get("/bff/client.js")).text
        assert '"csrfHeader": "X-Ours"' in module


async def test_the_page_is_served_from_its_folder(redis_server: RedisServer, tmp_path: Path) -> None:
    """Files, history fallback for navigations, caching, security headers; nothing hidden."""
    index = '<!doctype html>page<script src="/assets/app-B1c2D3e4.js"></script>'
    (tmp_path / "index.html").write_text(index)
    (tmp_path / ".env").write_text("SECRET=1")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "app-B1c2D3e4.js").write_text("1")
    async with running_world(redis_server, spa={"dir": tmp_path}) as world:
        browser = await world.browser()
        page = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
        root = await browser.client.get("/", headers=page)
        assert (index, "no-cache") == (root.text, root.headers["cache-control"])
        assert "default-src 'self'" in root.headers["content-security-policy"]
        assert root.text == (await browser.client.get("/orders/7", headers=page)).text
        asset = await browser.client.get("/assets/app-B1c2D3e4.js")
        assert "public, max-age=31536000, immutable" == asset.headers["cache-control"]
        assert 404 == (await browser.client.get("/assets/missing.js")).status_code
        for path in ("/.env", "/assets/../.env", "/bff/none"):
            assert 404 == (await browser.client.get(path, headers=page)).status_code
        assert 405 == (await browser.client.post("/", headers=page)).status_code
        script = await browser.client.get("/bff/client.js")
        assert ("text/javascript; charset=utf-8", "no-store") == (
            script.headers["content-type"],
            script.headers["cache-control"],
        )
        tag = script.headers["etag"]
        known = await browser.client.get("/bff/client.js", headers={"If-None-Match": f'"x", {tag}'})
        assert (304, b"", tag) == (known.status_code, known.content, known.headers["etag"])
