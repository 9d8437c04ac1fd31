"""The HTTP clients of one set of certificates: one for documents, one for requests that spend something.

httpx reads no environment variables here (`trust_env`): `provider.proxy` says which proxy a call takes.
"""

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Self

import httpx

from bff import __version__
from bff.crypto import encode
from bff.settings.model import ProviderSettings
from bff.settings.outgoing_proxy import OutgoingProxy

_OTHER_CALLS = 30  # connections for revocations and the like, which no limit holds back
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, option, value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if (option := getattr(socket, name, None)) is not None
    ),
)
"""An answer may be waited for very long: a provider that has vanished is noticed within half a minute."""


_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": f"bff-session-proxy/{__version__}",
}


class _ByProxy(httpx.AsyncBaseTransport):
    """A transport for each outgoing proxy, and one for calls that take none."""

    def __init__(self, choice: OutgoingProxy, make: Callable[[str | None], httpx.AsyncBaseTransport]) -> None:
        self._choice = choice
        self._made = {url: make(url) for url in (None, *set(choice.proxies.values()))}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        proxy = self._choice.of(url.scheme, url.host, url.port)
        return await self._made[proxy].handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._made.values():
            await transport.aclose()


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files of the authorities that are trusted, and of the client's own certificate with its key."""

    ca_file: Path | None = None
    client: Path | None = None
    client_key: Path | None = None

    @classmethod
    def of(cls, settings: ProviderSettings) -> Self:
        """Returns the files that the settings name."""
        return cls(settings.ca_file, settings.client_cert_file, settings.client_cert_key_file)


class Clients:
    """Three clients. `token_calls` are as many as there can be at once, `bounds` those of a call.

    Attributes:
        reading: reads documents, over connections that it keeps.
        spending: sends forms, each over a connection of its own.
        asking: sends forms that are questions, over connections that it keeps.
        calls: how many are under way.
        thumbprint: that of the client's own certificate (`x5t#S256`, RFC 8705 3.1); None without one.
    """

    def __init__(
        self, certificates: Certificates, proxy: OutgoingProxy, *, token_calls: int, bounds: httpx.Timeout
    ) -> None:
        self._proxy = proxy
        self._bounds = bounds
        self.calls = 0
        self.thumbprint: str | None = None
        self._trusted = verify = _trusting(certificates.ca_file)
        if certificates.client is not None:
            verify = _trusted_anew(certificates.ca_file)  # an outgoing proxy gets no certificate of ours
            verify.load_cert_chain(certificates.client, certificates.client_key, password=str)
            self.thumbprint = _thumbprint(certificates.client.read_text())
        self.reading = self._client(verify, connections=_OTHER_CALLS, keep_alive=4)
        self.spending = self._client(verify, connections=_OTHER_CALLS + token_calls, keep_alive=0)
        self.asking = self._client(verify, connections=token_calls, keep_alive=token_calls)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Counts a call for as long as the block runs."""
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1

    async def aclose(self) -> None:
        """Closes every connection."""
        await self.reading.aclose()
        await self.spending.aclose()
        await self.asking.aclose()

    def _client(self, verify: ssl.SSLContext, *, connections: int, keep_alive: int) -> httpx.AsyncClient:
        def transport(proxy: str | None) -> httpx.AsyncHTTPTransport:
            return httpx.AsyncHTTPTransport(
                verify=verify,
                http2=False,
                trust_env=False,
                limits=httpx.Limits(
                    max_connections=connections, max_keepalive_connections=keep_alive, keepalive_expiry=5.0
                ),
                proxy=None if proxy is None else _proxy(proxy, self._trusted),
                socket_options=_KEEP_ALIVE,
            )

        return httpx.AsyncClient(
            transport=_ByProxy(self._proxy, transport) if self._proxy.proxies else transport(None),
            trust_env=False,
            follow_redirects=False,
            headers=_HEADERS,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
            timeout=self._bounds,
        )


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the authorities of a file alone, if one is given, or else the public ones."""
    return _public() if ca_file is None else _trusted_anew(ca_file)


@cache
def _public() -> ssl.SSLContext:
    """The context of the public authorities: they are part of the installation, and take 30 ms to read."""
    return _trusted_anew(None)


def _trusted_anew(ca_file: Path | None) -> ssl.SSLContext:
    """A context that may be changed."""
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    return httpx.create_ssl_context(trust_env=False)


def _thumbprint(pem: str) -> str:
    """The thumbprint of the first certificate of a file, which is the client's own."""
    begin, mark = pem.find("-----BEGIN CERTIFICATE-----"), "-----END CERTIFICATE-----"
    der = ssl.PEM_cert_to_DER_cert(pem[begin : pem.find(mark, begin) + len(mark)])
    return encode(hashlib.sha256(der).digest())


def _proxy(url: str, verify: ssl.SSLContext) -> httpx.Proxy:
    """An outgoing proxy; one that is itself reached by TLS is judged as the provider is."""
    secure = httpx.URL(url).scheme == "https"
    return httpx.Proxy(url, ssl_context=verify if secure else None)
