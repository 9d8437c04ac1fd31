"""Sessions bound to a device, where another process or another protocol opens them."""

from collections.abc import AsyncIterator

import httpx
import pytest

from bff.app import App
from bff.embedded import free_port
from tests.flow.test_device_binding import OVER, UNPROVED, refusal
from tests.support.device import REFRESH, bound, signed
from tests.support.network.sockets import Sockets, running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, Browser, running_world, serving
from tests.support.wait import until_async

pytestmark = pytest.mark.requirement("P-12")
SECRET = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"
OFFERED = {"device_binding": "offered"}
ASKED = {**CSRF, "BFF-Forward-Auth": SECRET, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/orders"}


@pytest.fixture(name="sockets")
async def _sockets(redis_server: RedisServer) -> AsyncIterator[Sockets]:
    secret = {"secrets": [SECRET], "hosts": ["bff:8080"]}
    async with running_sockets(redis_server, session=OFFERED, forward_auth=secret) as sockets:
        yield sockets


async def test_a_binding_holds_in_every_process(redis_server: RedisServer) -> None:
    """One process binds; another, which had the session near and unbound, asks for the proof as well."""
    async with running_world(redis_server, session=OFFERED) as world:
        second_port = free_port()
        second = App(world.app.settings, clock=world.clock)
        async with serving(second, second_port):
            browser = await world.signed_in()
            copies = []
            for url in (world.url, f"http://localhost:{second_port}"):
                thief = Browser(url)
                thief.client.headers["Host"] = world.url.partition("//")[2]
                thief.client.cookies.set("bff", browser.handle or "", domain="localhost.local")
                copies.append(thief)
            here, there = copies
            async with here.client, there.client:
                while not second.metrics.near_cache.hits:
                    assert 200 == (await there.call("/api/orders")).status_code
                await bound(browser)
                assert UNPROVED == refusal(await here.call("/api/orders"))

                async def told() -> bool:
                    return (await there.call("/api/orders")).status_code == 401

                await until_async(told)
                assert UNPROVED == refusal(await there.call("/api/orders"))
                there.client.cookies.set("bff-bound", "1.x", domain="localhost.local")
                assert UNPROVED == refusal(await there.call("/api/orders"))
                proof = browser.client.cookies["bff-bound"]
                there.client.cookies.delete("bff-bound")
                there.client.cookies.set("bff-bound", proof, domain="localhost.local")
                assert 200 == (await there.call("/api/orders")).status_code


@pytest.mark.requirement("P-01")
async def test_another_frontend_knows_no_device(
    redis_server: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """A renewal there is of no session that it has, and no sign that somebody has written to Redis."""
    port = free_port()
    shop = {"name": "shop", "public_url": f"http://127.0.0.1:{port}"}
    async with running_world(redis_server, port=port, session=OFFERED, frontends=[shop]) as world:
        browser = await world.signed_in()
        device = await bound(browser)
        named = {"Sec-Fetch-Site": "same-origin", "Sec-Secure-Session-Id": device.session}
        async with httpx.AsyncClient(base_url=shop["public_url"]) as stranger:
            answer = await stranger.post(REFRESH, headers=named)
        assert {"session_identifier": device.session, "continue": False} == answer.json()
        assert 403 == (await device.ask()).status_code
        assert "record_tampered" not in capfd.readouterr().out


@pytest.mark.requirement("B-39")
async def test_a_record_that_was_put_back_has_no_device(redis_server: RedisServer) -> None:
    """DUMP, sign-out, RESTORE: the browser is told that its session is over, and gets no proof of it."""
    async with running_world(redis_server, session=OFFERED) as world:
        browser = await world.signed_in()
        device = await bound(browser)
        with redis_server.client(decode_responses=False) as client:
            dumped = client.dump(browser.session_key)
            assert 200 == (await browser.call("/bff/logout", "POST")).status_code
            client.restore(f"bff:session:{device.session}", 60_000, dumped)
        for answer in (await device.ask(), await device.prove(signed(device.key, device.next))):
            assert {"session_identifier": device.session, "continue": False} == answer.json()
            assert "set-cookie" not in answer.headers


async def test_no_token_for_another_proxy_without_a_proof(sockets: Sockets) -> None:
    """Forward-auth refuses as the proxy itself does, and tells the browser of the same code."""
    browser = await sockets.world.signed_in()
    device = await bound(browser)

    async def asked() -> int:
        answer = await browser.client.get("/bff/forward-auth", headers=ASKED)
        if answer.status_code != 200:
            assert "authorization" not in answer.headers
            assert UNPROVED == refusal(answer)
        return answer.status_code

    assert 200 == await asked()
    sockets.world.clock.ahead = OVER
    assert 401 == await asked()
    assert 200 == (await device.refresh()).status_code
    assert 200 == await asked()


async def test_no_socket_opens_without_a_proof(sockets: Sockets) -> None:
    """The handshake is refused before the backend hears of it; with the proof the socket opens."""
    browser = await sockets.world.signed_in()
    await bound(browser)
    copied = ("Cookie", f"bff={browser.handle}")
    refused = await sockets.refused(None, headers=[copied])
    assert 401 == refused.status_code
    assert b'"binding_required"' in refused.body
    assert [] == sockets.backend.requests
    async with await sockets.connect(browser) as socket:
        await socket.send("hello")
        assert "hello" == await socket.recv()
