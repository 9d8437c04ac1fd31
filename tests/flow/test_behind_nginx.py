"""Behind a real nginx with the configuration that the project ships, over TLS."""

import secrets
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from bff.embedded import free_port
from bff.oidc.client import OidcClient
from tests.structure.source import ROOT
from tests.support.network.backend import Received, Reply
from tests.support.network.nginx import NGINX, listens, running_nginx
from tests.support.network.tls import Certificate, self_signed
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.providers.issuer import ALICE, async_sign_in_at
from tests.support.wait import until


def configured(certificate: Certificate, tls_port: int, plain_port: int, upstream_port: int) -> str:
    """The shipped file with the example's names and ports replaced by the test's, and nothing else."""
    text = (ROOT / "config" / "nginx.conf").read_text(encoding="utf-8")
    for old, new in (
        ("127.0.0.1:8080", f"127.0.0.1:{upstream_port}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{tls_port} ssl"),
        ("listen 80", f"listen 127.0.0.1:{plain_port}"),
        ("/etc/ssl/app.example.com.pem", str(certificate.cert)),
        ("/etc/ssl/app.example.com.key", str(certificate.key)),
        ("$host;", "$http_host;"),  # the test's port is not https' own, so that Host names it
        ("app.example.com", "localhost"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.skipif(NGINX is None, reason="no nginx")
@pytest.mark.requirement("B-02", "B-04", "B-07", "B-17", "H-04")
async def test_the_shipped_nginx_configuration(redis_server: RedisServer, tmp_path: Path) -> None:
    """Sign-in, calls and streams work through it; cookies are Secure and prefixed; the address is told."""
    tls_port, plain_port = free_port(), free_port()
    certificate = self_signed(tmp_path)
    url = f"https://localhost:{tls_port}"
    trusted = {"trusted_proxies": ["127.0.0.1"]}
    async with running_world(redis_server, public_url=url, server=trusted) as world:
        world.verify = ssl.create_default_context(cafile=certificate.cert)
        configuration = configured(certificate, tls_port, plain_port, world.port)
        with running_nginx(tmp_path, configuration) as process:
            await until(lambda: listens(tls_port) or process.poll() is not None)
            browser = await world.browser("127.0.0.7")
            await browser.sign_in()
            cookies = [value for answer in browser.answers for value in answer.headers.get_list("set-cookie")]
            session = [value for value in cookies if value.startswith("__Host-Http-bff=")]
            assert 1 == len(session)
            assert session[0].endswith("; Path=/; HttpOnly; SameSite=Strict; Secure")
            ours = [value for value in cookies if value.startswith("__Host-Http-bff-tx-")]
            assert ours
            assert all("; Secure" in value and "; HttpOnly" in value for value in ours)

            async def echo(request: Received) -> Reply:
                return Reply(body=[request.body, b"!"], framing="chunked")

            world.reply = echo
            body = b"x" * 3_000_000
            answer = await browser.call("/api/orders", "POST", content=body)
            assert (200, body + b"!") == (answer.status_code, answer.content)
            seen = world.backend.requests[-1]
            assert [b"127.0.0.7"] == seen.values(b"x-forwarded-for")
            assert [b"https"] == seen.values(b"x-forwarded-proto")
            assert 403 == (await browser.client.get("/api/orders")).status_code
            for _ in range(5):  # sign-ins under way, by whoever opened them, as long as they can be
                await browser.client.get(
                    "/bff/login", params={"return_to": "/" + "x" * 1000, "acr_values": "y" * 500}
                )
            assert 200 == (await browser.user()).status_code
            moved = await browser.client.get(f"http://localhost:{plain_port}/orders?a=1")
            assert "https://localhost/orders?a=1" == moved.headers["location"]


PLAIN = """
worker_processes 1;
events { worker_connections 64; }
http {
    access_log off;
    server {
        listen 127.0.0.1:%d;
        location / { proxy_pass http://127.0.0.1:%d; proxy_set_header Host $http_host; }
    }
}
"""


@pytest.mark.skipif(NGINX is None, reason="no nginx")
@pytest.mark.requirement("O-16")
async def test_a_long_code_through_an_nginx_of_its_own_defaults(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the callback's answer nor finish's head is too long for its buffers: 7 kB arrive whole."""
    spent: list[str] = []
    exchange = OidcClient.exchange_code

    async def noted(self: OidcClient, code: str, **more: Any) -> Any:
        spent.append(code)
        return await exchange(self, code, **more)

    monkeypatch.setattr(OidcClient, "exchange_code", noted)
    front = free_port()
    async with running_world(redis_server, public_url=f"http://localhost:{front}") as world:
        with running_nginx(tmp_path, PLAIN % (front, world.port)) as process:
            await until(lambda: listens(front) or process.poll() is not None)
            browser = await world.browser()
            page = await browser.follow(await browser.client.get("/bff/login?return_to=/" + "x" * 900))
            back = httpx.URL((await async_sign_in_at(page, browser.client, ALICE)).headers["location"])
            assert "/bff/callback" == back.path
            code = secrets.token_urlsafe(7000)[:7000]
            assert 200 == (await browser.client.get(back.copy_set_param("code", code))).status_code
            # The provider has never given this code, so that the sign-in is begun again.
            assert 302 == (await browser.client.get("/bff/callback/finish")).status_code
    assert [code] == spent
