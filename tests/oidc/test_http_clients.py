"""The provider's certificates change while calls are under way."""

import asyncio
import ssl
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc import http_clients
from bff.oidc.http import ProviderHttp
from bff.oidc.http_clients import Certificates
from bff.oidc.requests import Form
from tests.support.network.tls import certificates_shown, in_der, self_signed, server_tls


@pytest.mark.requirement("S-09")
async def test_other_certificates_while_a_call_is_under_way(tmp_path: Path) -> None:
    """It ends as it began; the next one trusts the other authority alone, and nothing is left open."""
    (tmp_path / "other").mkdir()
    own, other = self_signed(tmp_path), self_signed(tmp_path / "other")
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls(own))
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    made = ProviderHttp(timeout=60, certificates=Certificates(own.cert))
    async with server, aclosing(made), asyncio.TaskGroup() as group:
        call = group.create_task(made.get(url))
        await asked.wait()
        with pytest.raises(OSError, match="No such file"):
            made.renew(Certificates(tmp_path / "nothing"))
        made.renew(Certificates(other.cert))
        with pytest.raises(ProviderUnavailableError, match="certificate is refused"):
            await made.get(url)
        go_on.set()
        assert 200 == (await call).status
        made.renew(Certificates(own.cert))
        assert 200 == (await made.get(url)).status
        assert [] == made._former


@pytest.mark.requirement("P-04", "S-09")
async def test_a_newer_certificate_of_our_own_is_shown(tmp_path: Path) -> None:
    """From the next call on the provider sees the newer one; without one it takes no call."""
    names = ("localhost", "former", "newer")
    server, former, newer = (self_signed(tmp_path, name) for name in names)
    made = ProviderHttp(timeout=60, certificates=Certificates(server.cert, *former))
    async with certificates_shown(server, former, newer) as (url, shown), aclosing(made):
        assert 200 == (await made.get(url)).status
        made.renew(Certificates(server.cert, *newer))
        assert 200 == (await made.post(url, Form({}, {"a": "b"}))).status
        made.renew(Certificates(server.cert))
        with pytest.raises(ProviderUnavailableError):
            await made.get(url)
    assert [in_der(former), in_der(newer)] == shown


async def test_the_public_authorities_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that name no file share their context; one with a certificate of ours is nobody else's."""
    made: list[ssl.SSLContext] = []
    real = httpx.create_ssl_context

    def counted(*arguments: object, **options: object) -> ssl.SSLContext:
        made.append(real(*arguments, **options))  # type: ignore[arg-type] # handed on as they are
        return made[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", counted)
    http_clients._public.cache_clear()
    one, other = ProviderHttp(timeout=60), ProviderHttp(timeout=60)
    async with aclosing(one), aclosing(other):
        one.renew(Certificates())
        assert 1 == len(made)
        one.renew(Certificates(None, *self_signed(tmp_path)))
        assert 2 == len(made)
        other.renew(Certificates())
        assert 2 == len(made)
    http_clients._public.cache_clear()
