"""Behind a real nginx of its own defaults."""

import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest

from bff.embedded import free_port
from bff.oidc.client import OidcClient
from tests.support.network.nginx import listens, running_nginx
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.providers.issuer import ALICE, async_sign_in_at
from tests.support.wait import until

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
