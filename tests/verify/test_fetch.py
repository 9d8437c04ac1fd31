"""The verifier's fetches."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from bff.verify.fetch import Fetcher, FetchError
from bff.verify.revocation import Introspection
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


@asynccontextmanager
async def endless(begin: bytes, piece: bytes) -> AsyncIterator[str]:
    """The address of a server whose answers never end; each piece comes in time."""
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begin)
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
        over.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await over.wait()  # the connection is closed, too


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b" ")],
    ids=["before the head", "in the body"],
)
async def test_an_answer_that_never_ends_is_given_up(begin: bytes, piece: bytes) -> None:
    """The bound is that of the whole call; a limit on each read alone would never be met."""
    async with endless(begin, piece) as url:
        fetcher = Fetcher(timeout=0.2)
        with pytest.raises(FetchError, match="TimeoutError"):
            await fetcher.get(url)
        await fetcher.close()
    async with endless(begin, piece) as url:
        word = Introspection(url, client_id="orders", client_secret="s3cr3t", timeout=0.2)
        with pytest.raises(TimeoutError):
            await word.is_revoked("token", cast("Any", {}))
        await word.close()


@asynccontextmanager
async def coded(body: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers with gzip, asked or not; its address, and the heads that it got."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
        packed = gzip.compress(body)
        lines = (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        )
        writer.write(lines % len(packed) + packed)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", heads


async def test_nothing_is_unpacked() -> None:
    """A few kilobytes of gzip unpack to megabytes before any bound is looked at."""
    async with coded(b'{"keys": [], "active": true}') as (url, heads):
        fetcher = Fetcher()
        with pytest.raises(FetchError):
            await fetcher.get(url)
        await fetcher.close()
        word = Introspection(url, client_id="orders", client_secret="s3cr3t")
        with pytest.raises(ValueError, match=r".*"):
            await word.is_revoked("token", cast("Any", {}))
        await word.close()
    assert [True, True] == [b"\r\naccept-encoding: identity\r\n" in head for head in heads]
