"""Behind real reverse proxies with the configurations that the project ships, over TLS.

All of them stand side by side in front of one proxy, each at an address of its own, for one public URL.
"""

import asyncio
import contextlib
import ssl
import subprocess
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.typing import Origin

from bff.embedded import free_port
from tests.support.network.backend import Backend, Conversation, Received, Reply, raw_backend
from tests.support.network.nginx import brotli_module, listens
from tests.support.network.programs import found, program
from tests.support.network.reverse_proxies import SHIPPED, Place, directed, running_shipped
from tests.support.network.sockets import socket_backend
from tests.support.network.tls import self_signed
from tests.support.network.upload import Uploaded, upload
from tests.support.processes.redis import redis_server
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until

CSRF = {"X-CSRF": "1"}
MAX_BODY = 8_000_000
LARGE = 100_000_000

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("name", list(SHIPPED)),
]


@dataclass(frozen=True)
class Fleet:
    """The proxy, and the reverse proxies in front of it."""

    world: World
    places: dict[str, Place]
    store: Backend
    browsers: dict[str, Browser]

    def trust(self) -> ssl.SSLContext:
        """A client's side of TLS; each use needs one of its own, for the protocols that it offers."""
        (place, *_) = self.places.values()
        return ssl.create_default_context(cafile=place.certificate.cert)

    def address(self, name: str) -> tuple[str, int]:
        return self.places[name].address, self.places[name].tls

    async def browser(self, name: str) -> Browser:
        """Alice's, who has come through this reverse proxy."""
        program(name)  # one that is not here was not started
        if name not in self.browsers:
            self.browsers[name] = browser = await self.world.browser("127.0.0.7", http2=True)
            directed(browser.client, self.places[name])
            await browser.sign_in()
        return self.browsers[name]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="fleet")
async def _fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    tls, plain = free_port(), free_port()
    url = f"https://localhost:{tls}"
    certificate = self_signed(tmp_path_factory.mktemp("certificate"))
    async with contextlib.AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server())
        sockets = await stack.enter_async_context(socket_backend())
        store = await stack.enter_async_context(raw_backend(_takes_all))
        page = tmp_path_factory.mktemp("page")
        (page / "index.html").write_text("<!doctype html><title>The shop</title>")
        (page / "app.js").write_text("export const shop = 1;\n" * 1000)
        world = await stack.enter_async_context(
            running_world(
                redis,
                public_url=url,
                server={"trusted_proxies": ["127.0.0.1"]},
                route={"max_body": MAX_BODY, "keep_cookies": True},
                routes=[
                    {"path": "/store", "upstream": store.url, "max_body": 2 * LARGE},
                    {"path": "/feed", "upstream": sockets.url, "websocket": True, "auth": "none"},
                ],
                spa={"dir": page},
            )
        )
        world.verify = ssl.create_default_context(cafile=certificate.cert)
        places = {
            name: Place(
                f"127.0.1.{number}", tls, plain, world.port, certificate, tmp_path_factory.mktemp(name)
            )
            for number, name in enumerate(SHIPPED, 1)
            if found(name)
        }
        running = {name: stack.enter_context(running_shipped(name, place)) for name, place in places.items()}
        for name, process in running.items():
            await _begun(process, places[name])
        yield Fleet(world, places, store, {})
        for process in running.values():  # all at once; the stack waits for each
            process.terminate()


async def _begun(process: "subprocess.Popen[bytes]", place: Place) -> None:
    await until(lambda: listens(place.tls, place.address) or process.poll() is not None)
    said = [log.read_text() for log in place.folder.glob("*.log")]
    assert process.poll() is None, said


@pytest.mark.requirement("B-02", "B-04", "B-07", "B-17", "H-04", "H-10")
async def test_sign_in_and_calls(fleet: Fleet, name: str) -> None:
    """Cookies are Secure; the backend learns the true address and scheme, whatever the client says."""
    browser, world = await fleet.browser(name), fleet.world
    _cookies(browser)

    async def echo(request: Received) -> Reply:
        return Reply(body=[request.body, b"!"], framing="chunked")

    world.reply = echo
    body = b"x" * 3_000_000
    lies = {
        "X-Forwarded-For": "192.0.2.1",
        "Forwarded": "for=192.0.2.1;proto=http",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Real-IP": "192.0.2.1",
    }
    answer = await browser.client.post("/api/orders", content=body, headers=CSRF | lies)
    assert (200, body + b"!") == (answer.status_code, answer.content)
    assert "HTTP/2" == answer.http_version
    assert "strict-transport-security" in answer.headers
    seen = world.backend.requests[-1]
    assert [b"127.0.0.7"] == seen.values(b"x-forwarded-for")
    assert [b"https"] == seen.values(b"x-forwarded-proto")
    assert [world.url.removeprefix("https://").encode()] == seen.values(b"x-forwarded-host")
    assert b"192.0.2.1" not in b"".join(seen.values(b"forwarded"))
    assert 403 == (await browser.client.get("/api/orders")).status_code
    moved = await browser.client.get(f"http://localhost:{fleet.places[name].plain}/orders?a=1")
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


@pytest.mark.requirement("B-07")
async def test_events_come_at_once(fleet: Fleet, name: str) -> None:
    """An event arrives before the next one is made, though the client takes compressed answers."""
    browser, world = await fleet.browser(name), fleet.world
    go_on = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        await go_on.wait()
        yield b"data: two\n\n"

    async def stream(_: Received) -> Reply:
        return Reply(headers=[(b"content-type", b"text/event-stream")], body=events(), framing="chunked")

    world.reply = stream
    remember, browser.client.event_hooks["response"] = browser.client.event_hooks["response"], []
    try:
        async with browser.client.stream("GET", "/api/events", headers=CSRF) as answer:
            assert (200, None) == (answer.status_code, answer.headers.get("content-encoding")), (
                await answer.aread()
            )
            chunks = answer.aiter_raw()
            assert b"data: one\n\n" == await _event(chunks)
            go_on.set()
            assert b"data: two\n\n" == await _event(chunks)
    finally:
        browser.client.event_hooks["response"] = remember


async def _event(chunks: AsyncIterator[bytes]) -> bytes:
    """All that comes until an event ends, in however many frames; what there is where the stream ends."""
    said = b""
    async for chunk in chunks:
        said += chunk
        if said.endswith(b"\n\n"):
            break
    return said


async def test_websockets(fleet: Fleet, name: str) -> None:
    """Both ways, from a page of the public URL."""
    browser = await fleet.browser(name)
    address, port = fleet.address(name)
    async with connect(
        fleet.world.url.replace("https://", "wss://") + "/feed/7",
        additional_headers=[("Cookie", f"__Host-Http-bff={browser.handle}")],
        origin=Origin(fleet.world.url),
        ssl=fleet.trust(),
        host=address,
        port=port,
        proxy=None,
    ) as socket:
        await socket.send("hello")
        assert "hello" == await socket.recv()


async def test_the_cookies_of_several_sign_ins_pass(fleet: Fleet, name: str) -> None:
    """Those of as many as there may be, as long as they can be."""
    browser = await fleet.browser(name)
    for _ in range(5):
        await browser.client.get(
            "/bff/login", params={"return_to": "/" + "x" * 1000, "acr_values": "y" * 500}
        )
    answer: httpx.Response = await browser.user()
    assert 200 == answer.status_code


async def test_cookies_that_come_one_by_one(fleet: Fleet, name: str) -> None:
    """Over HTTP/2 a browser sends each as a field of its own (RFC 9113, 8.2.3); bff gets them as one."""
    browser = await fleet.browser(name)

    async def nothing(_: Received) -> Reply:
        return Reply(status=204)

    fleet.world.reply = nothing
    jar = [("Cookie", each) for each in ("theme=dark", f"__Host-Http-bff={browser.handle}", "size=7")]
    answer = await browser.client.get("/api/cookies", headers=[*jar, *CSRF.items()])
    assert (204, "HTTP/2") == (answer.status_code, answer.http_version)
    assert [b"theme=dark; size=7"] == fleet.world.backend.requests[-1].values(b"cookie")


@pytest.mark.requirement("H-10")
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
async def test_a_large_upload_is_refused_early(fleet: Fleet, name: str, chunked: bool) -> None:
    """The refusal arrives, and long before all has been sent: by its length at once, in chunks after 8 MB."""
    answer = await _upload(fleet, name, "/api/orders", chunked=chunked)
    assert (413, True) == (answer.status, b"body_too_large" in answer.content)
    assert answer.sent < LARGE / 2


async def test_a_large_upload_is_taken_where_a_route_allows_it(fleet: Fleet, name: str) -> None:
    """All of it arrives, and nowhere in this process is more than a piece of it held at once."""
    tracemalloc.start()
    try:
        answer = await _upload(fleet, name, "/store/7", chunked=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (200, f"{LARGE} {zlib.crc32(bytes(LARGE))}".encode()) == (answer.status, answer.content)
    assert LARGE == answer.sent
    assert peak < 20_000_000


async def _upload(fleet: Fleet, name: str, target: str, *, chunked: bool) -> Uploaded:
    browser = await fleet.browser(name)
    head = {
        "Host": fleet.world.url.removeprefix("https://"),
        "Cookie": f"__Host-Http-bff={browser.handle}",
        **CSRF,
    }
    return await asyncio.to_thread(
        upload, fleet.address(name), fleet.trust(), head, LARGE, target=target, chunked=chunked
    )


async def _takes_all(conversation: Conversation) -> None:
    """A backend that keeps nothing of a body, and answers with its length and its checksum."""
    while (head := await conversation.read_head()) is not None:
        if head.values(b"expect"):
            await conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        left = int(head.values(b"content-length")[0])
        length = check = 0
        while left:
            piece = await conversation.reader.read(min(left, 65_536))
            if not piece:
                return
            length, check, left = length + len(piece), zlib.crc32(piece, check), left - len(piece)
        text = f"{length} {check}".encode()
        await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))


async def test_what_is_compressed(fleet: Fleet, name: str) -> None:
    """A script of the page may be, an answer of the API never: it may repeat what came with its request."""
    browser = await fleet.browser(name)

    async def long(_: Received) -> Reply:
        return Reply(headers=[(b"content-type", b"application/json")], body=b'"%b"' % (b"x" * 10_000))

    fleet.world.reply = long
    kinds: dict[str, Any] = {}
    for coding in ("gzip", "br"):
        ask = {"Accept-Encoding": coding}
        script = await browser.client.get("/app.js", headers=ask)
        call = await browser.client.get("/api/orders", headers=CSRF | ask)
        assert "content-encoding" not in call.headers
        kinds[coding] = script.headers.get("content-encoding")
        again = await browser.client.get("/app.js", headers=ask | {"If-None-Match": script.headers["etag"]})
        assert 304 == again.status_code
    expected = {"gzip": "gzip", "br": "br" if brotli_module() else None}
    assert (expected if name == "nginx" else {"gzip": None, "br": None}) == kinds
