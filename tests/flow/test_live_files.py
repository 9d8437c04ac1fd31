"""Keys and certificates that change while the whole proxy runs (S-09)."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.frames import Close

from bff.crypto import new_secret
from tests.support.network.backend import Received, Reply, backend
from tests.support.network.relay import relay_to
from tests.support.network.sockets import closing, running_sockets
from tests.support.network.tls import certificates_shown, in_der, self_signed, server_tls
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.settings import secret
from tests.support.wait import until

pytestmark = pytest.mark.requirement("S-09")
SOON: dict[str, Any] = {"reload_interval": 0.05}


@pytest.mark.requirement("B-22")
async def test_a_key_that_is_taken_back(redis_server: RedisServer, tmp_path: Path) -> None:
    """Its sessions are over at once, from memory too, and so is what is open for them; others live on."""
    first, second, third = new_secret(), new_secret(), new_secret()
    keys = secret(str(tmp_path / "keys"), first)
    session = {"keys": [first], "keys_file": keys}
    async with running_sockets(redis_server, session=session, server=SOON) as sockets:
        world = sockets.world
        await until(lambda: world.app.shared.feed.trusted)
        assert [0, 0] == reloads(world, "session.keys_file"), "an increase is seen from the first change on"
        old = await world.signed_in()
        socket = await sockets.connect(old)
        keys.write_text(f"{second}\n{first}\n")
        kids = len(world.app.shared.keys.keyring.kids)
        await until(lambda: len(world.app.shared.keys.keyring.kids) > kids)
        new = await world.signed_in()
        for browser in (old, new):
            for _ in range(2):
                assert 200 == (await browser.user()).status_code
        limits = world.app.settings.limits.model_copy(update={"events_per_session": 1})
        await world.app.reload(
            world.app.settings.model_copy(update={"limits": limits})
        )  # it is a former one's
        keys.write_text(f"{third}\n{second}\n")
        assert Close(4401, "the session has ended") == await closing(socket)
        assert (401, "session_missing") == await said(await old.user())
        assert 200 == (await new.user()).status_code
        keys.write_text("spoiled")
        await until(lambda: refused(world) == 1)
        assert [2, 1] == reloads(world, "session.keys_file")
        assert 200 == (await new.user()).status_code
        assert (await world.signed_in()).handle is not None


async def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def refused(world: World) -> float:
    """How many files have a last change that is not in force."""
    lines = world.app.metrics.render()[0].decode().splitlines()
    return float(next(line for line in lines if line.startswith("bff_settings_files_refused ")).split()[1])


@pytest.mark.requirement("P-01")
async def test_the_secret_of_the_second_provider(redis_server: RedisServer, tmp_path: Path) -> None:
    """The one in its file counts as soon as it is written, at its provider alone."""
    file = secret(str(tmp_path / "partners"), "other")
    partners = {"client_secret": "other", "client_secret_file": file, "par": "never"}
    async with running_world(
        redis_server, server=SOON, provider={"par": "never"}, others={"partners": partners}
    ) as world:
        guest, at_start = await world.browser(), world.app.settings
        page = at_start.spa.model_copy(update={"error_page": "/error"})
        newer = at_start.model_copy(update={"spa": page})
        await world.app.prepare(newer)
        await guest.sign_in(provider="partners")
        assert 401 == (await guest.user()).status_code
        file.write_text(world.others["partners"].client_secret)
        await until(lambda: in_force(world, "provider[1].client_secret_file") == 1)
        await guest.sign_in(provider="partners")
        assert 200 == (await guest.user()).status_code
        assert 200 == (await (await world.signed_in()).user()).status_code
        assert ("spa.error_page",) == (await world.app.reload(newer)).changed  # which has the former secret
        await guest.sign_in(provider="partners")
        assert 200 == (await guest.user()).status_code


@pytest.mark.requirement("P-04")
async def test_our_certificate_at_the_provider(redis_server: RedisServer, tmp_path: Path) -> None:
    """The one in the files is shown as soon as both are there; one without its key changes nothing."""
    server, former, newer = (self_signed(tmp_path, name) for name in ("localhost", "former", "newer"))
    cert, key = tmp_path / "client.pem", secret(str(tmp_path / "client.key"), former.key.read_bytes())
    cert.write_bytes(former.cert.read_bytes())
    provider: dict[str, Any] = {
        "userinfo": "always",
        "ca_file": server.cert,
        "client_cert_file": cert,
        "client_cert_key_file": key,
    }
    async with (
        certificates_shown(server, former, newer) as (url, shown),
        running_world(
            redis_server, server=SOON, provider={**provider, "userinfo_endpoint": f"{url}userinfo"}
        ) as world,
    ):
        await world.signed_in()
        cert.write_bytes(newer.cert.read_bytes())
        await until(lambda: refused(world) > 0)
        await world.signed_in()
        key.write_bytes(newer.key.read_bytes())
        await until(lambda: in_force(world, "provider.client_cert_file") == 1)
        await world.signed_in()
    assert [in_der(former), in_der(former), in_der(newer)] == shown


async def test_a_backends_authority(redis_server: RedisServer, tmp_path: Path) -> None:
    """The one in the file counts, on connections that are kept, too; half a file changes nothing."""

    async def hello(_: Received) -> Reply:
        return Reply(body=b"hello")

    (tmp_path / "other").mkdir()
    own, other = self_signed(tmp_path), self_signed(tmp_path / "other")
    authority = secret(str(tmp_path / "ca.pem"), own.cert.read_bytes())
    async with backend(hello, tls=server_tls(own)) as upstream:
        port = upstream.url.rpartition(":")[2]
        route = {"upstream": f"https://localhost:{port}", "auth": "none", "ca_file": authority}
        async with running_world(redis_server, route=route, server=SOON) as world:
            browser = await world.browser()

            async def status() -> int:
                return (await browser.call("/api/x")).status_code

            assert [200, 200] == [await status(), await status()]
            assert 1 == upstream.connections
            authority.write_bytes(own.cert.read_bytes()[:200])
            await until(lambda: refused(world) == 1)
            assert 200 == await status()
            assert 1 == upstream.connections
            authority.write_bytes(other.cert.read_bytes())
            await until(lambda: refused(world) == 0)
            assert 502 == await status()
            authority.write_bytes(own.cert.read_bytes())
            await until(lambda: in_force(world, "route[0].ca_file") == 2)
            assert 200 == await status()


async def test_the_authority_of_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    """Connections are made anew by the file as it is now, each session's read and each write."""
    (tmp_path / "other").mkdir()
    own, other = self_signed(tmp_path), self_signed(tmp_path / "other")
    authority = secret(str(tmp_path / "ca.pem"), own.cert.read_bytes())
    async with relay_to(redis_server.port, tls=server_tls(own)) as relay:
        url = f"rediss://localhost:{relay.port}/0?ssl_ca_certs={authority}"
        sections: dict[str, Any] = {"redis": {"url": url}, "session": {"near_cache": False}, "server": SOON}
        async with running_world(redis_server, **sections) as world:
            browser = await world.signed_in()
            assert 200 == (await browser.user()).status_code
            authority.write_bytes(other.cert.read_bytes())
            await until(lambda: in_force(world, "redis.url") == 1)
            assert 503 == (await browser.user()).status_code
            authority.write_bytes(own.cert.read_bytes())
            await until(lambda: in_force(world, "redis.url") == 2)
            assert 200 == (await browser.user()).status_code
            await browser.sign_in()
            assert 200 == (await browser.user()).status_code


def in_force(world: World, setting: str) -> int:
    """How often a change of this setting's file was put in force."""
    return reloads(world, setting)[0]


def reloads(world: World, setting: str) -> list[int]:
    """How often a change of this setting's file was put in force, and was refused; -1: no sample says."""
    found = {"in_force": -1, "refused": -1}
    for line in world.app.metrics.render()[0].decode().splitlines():
        for outcome in found:
            name = f'bff_settings_reloads_total{{outcome="{outcome}",setting="{setting}"}} '
            if line.startswith(name):
                found[outcome] = int(float(line.removeprefix(name)))
    return [*found.values()]
