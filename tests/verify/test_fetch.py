"""The verifier's fetches."""

import asyncio
from pathlib import Path

import pytest

from bff.verify.fetch import Fetcher, FetchError
from tests.support.network.tls import self_signed, server_tls
from tests.support.providers.provider import ServedProvider


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_proxy_variables_are_not_followed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable that was set for another purpose sends no fetch elsewhere, unless that is asked for."""
    for other in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    provider = ServedProvider()
    provider.serve()
    fetcher, told = Fetcher(), Fetcher(trust_env=True)
    try:
        url = f"{provider.base}/.well-known/openid-configuration"
        assert provider.base == (await fetcher.get(url))["issuer"]
        with pytest.raises(FetchError):
            await told.get(url)
    finally:
        await fetcher.close()
        await told.close()
        provider.stop()


async def test_an_issuer_with_an_authority_of_its_own(tmp_path: Path) -> None:
    """`ca_file` makes its certificate good; without it nothing is fetched."""
    certificate = self_signed(tmp_path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n" + b'{"keys":[]}')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_tls(certificate))
    trusting, other = Fetcher(ca_file=certificate.cert), Fetcher()
    try:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
        assert {"keys": []} == await trusting.get(url)
        with pytest.raises(FetchError):
            await other.get(url)
    finally:
        await trusting.close()
        await other.close()
        server.close()


def test_a_ca_file_without_certificates_is_told_at_once(tmp_path: Path) -> None:
    """Not with the first token."""
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(OSError, match=r".+"):
        Fetcher(ca_file=tmp_path / "ca.pem")
