"""A host under stock uvicorn with several workers, started as the documentation says."""

import json
import sys
from pathlib import Path

import httpx

from bff.child import Child
from bff.embedded import free_port
from tests.library.test_shop import warm
from tests.support.processes.command import variables_for
from tests.support.processes.forked import BARE
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.wait import until_async

COMMAND = "uvicorn --factory tests.examples.library.shop:create_app --workers 2 --host 127.0.0.1 --port"
FRESH = {"Connection": "close"}  # the next call may come to the other worker


async def test_each_worker_has_its_own(redis_server: RedisServer, tmp_path: Path) -> None:
    """Both know the sessions, and warm neither asks Redis; a `DEL` is seen by both with the next call."""
    port = free_port()
    url = f"http://localhost:{port}"
    async with running_world(redis_server, public_url=url) as world:
        environ = variables_for(
            world.issuer.url,
            redis_server.url,
            BFF_SERVER__PUBLIC_URL=url,
            BFF_PROVIDER__CLIENT_ID=world.issuer.client_id,
            BFF_PROVIDER__CLIENT_SECRET=world.issuer.client_secret,
            BFF_ROUTE=json.dumps([{"path": "/api", "upstream": world.backend.url}]),
        )
        command = [sys.executable, "-m", *COMMAND.split(), str(port)]
        child = Child(command, log=tmp_path / "uvicorn.log", environment=BARE | environ)
        try:
            browser = await world.browser()

            async def serves() -> bool:
                assert child.alive(), (tmp_path / "uvicorn.log").read_text()
                try:
                    return (await browser.client.get("/")).status_code == httpx.codes.OK
                except httpx.TransportError:
                    return False

            await until_async(serves)
            await browser.sign_in()
            await warm(world, browser, FRESH)
            with redis_server.client() as redis:
                redis.delete(browser.session_key)
            for _ in range(20):
                assert 401 == (await browser.call("/me", headers=FRESH)).status_code
        finally:
            child.kill()
