"""The provider's certificates change while calls are under way."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc.http import ProviderHttp
from tests.support.network.tls import self_signed, server_tls


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
    made = ProviderHttp(timeout=60, ca_file=own.cert)
    async with server, aclosing(made), asyncio.TaskGroup() as group:
        call = group.create_task(made.get(url))
        await asked.wait()
        with pytest.raises(OSError, match="No such file"):
            made.renew(tmp_path / "nothing")
        made.renew(other.cert)
        with pytest.raises(ProviderUnavailableError, match="cannot be reached"):
            await made.get(url)
        go_on.set()
        assert 200 == (await call).status
        made.renew(own.cert)
        assert 200 == (await made.get(url)).status
        assert [] == made._former
