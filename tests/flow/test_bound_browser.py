"""A session that a real Chromium binds to its device: copied cookies die, the browser goes on."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.async_api import BrowserContext, async_playwright

from bff.embedded import free_port
from tests.browser.visit import ALICE, find_chromium
from tests.support.network.tls import Certificate, self_signed, trusting
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, running_world
from tests.support.wait import until_async

_FEATURES = "DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"
_CALL = "path => fetch(path, {headers: {'X-CSRF': '1'}}).then(answer => answer.status)"


@asynccontextmanager
async def _chromium(folder: Path, certificate: Certificate) -> AsyncIterator[BrowserContext]:
    """A Chromium that binds sessions, with keys in software, and trusts one certificate by its key."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium")
    loaded = x509.load_pem_x509_certificate(certificate.cert.read_bytes())
    spki = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(spki).digest()).decode()
    process = await asyncio.create_subprocess_exec(
        executable,
        "--headless=new",
        f"--enable-features={_FEATURES}",
        f"--ignore-certificate-errors-spki-list={pin}",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder / 'profile'}",
        "--no-first-run",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = folder / "profile" / "DevToolsActivePort"

        async def listens() -> bool:
            return port.exists() and len(port.read_text().splitlines()) > 1

        await until_async(listens)
        number, path = port.read_text().splitlines()[:2]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.connect_over_cdp(f"ws://127.0.0.1:{number}{path}")
            yield browser.contexts[0]
            await browser.close()
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.requirement("P-12")
async def test_copies_die_and_the_browser_goes_on(redis_server: RedisServer, tmp_path: Path) -> None:
    """It registers at sign-in, and renews by itself, in two tabs at once; copied cookies end."""
    certificate, port = self_signed(tmp_path), free_port()
    tls = {"ssl_certfile": str(certificate.cert), "ssl_keyfile": str(certificate.key)}
    url = f"https://localhost:{port}"
    binding, page_of = {"device_binding": "offered"}, tmp_path / "page"
    page_of.mkdir()
    (page_of / "index.html").write_text("<!doctype html><title>page</title>")
    spa = {"dir": page_of}
    async with (
        running_world(
            redis_server, public_url=url, port=port, uvicorn_options=tls, session=binding, spa=spa
        ) as world,
        _chromium(tmp_path, certificate) as context,
    ):
        page = await context.new_page()
        await page.goto(f"{url}/bff/login")
        await page.get_by_label("Email").fill(ALICE[0])
        await page.get_by_label("Password").fill(ALICE[1])
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url(f"{url}/")

        async def is_bound() -> bool:
            return True is await page.evaluate(
                "() => fetch('/bff/sessions', {headers: {'X-CSRF': '1'}}).then(it => it.json())"
                ".then(it => it.sessions[0].bound)"
            )

        await until_async(is_bound)
        other = await context.new_page()
        await other.goto(f"{url}/")
        copied = {str(each["name"]): str(each["value"]) for each in await context.cookies(url)}
        async with httpx.AsyncClient(base_url=url, verify=trusting(certificate), cookies=copied) as thief:
            assert 200 == (await thief.get("/api/orders", headers=CSRF)).status_code
            world.clock.ahead = 331.0
            refused = await thief.get("/api/orders", headers=CSRF)
            assert (401, "not_proved") == (refused.status_code, refused.json()["reason"])
            await context.clear_cookies(name="__Host-bff-bound")  # as when its Max-Age is over
            calls = (tab.evaluate(_CALL, "/api/orders") for tab in (page, other))
            assert [200, 200] == await asyncio.gather(*calls)
            assert 401 == (await thief.get("/api/orders", headers=CSRF)).status_code
