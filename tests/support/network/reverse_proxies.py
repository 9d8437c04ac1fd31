"""The reverse proxies whose configurations the project ships, each run with the file as it is shipped.

The example's names, addresses and ports are replaced by the test's, and nothing else. Each listens on an
address of its own of the loopback network, all on the same ports: they stand for one public URL.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpcore
import httpx

from tests.structure.source import ROOT
from tests.support.network.nginx import brotli_module, directives
from tests.support.network.programs import program
from tests.support.network.tls import Certificate


@dataclass(frozen=True, slots=True)
class Place:
    """The ports of a reverse proxy, the proxy behind it, and a folder of its own."""

    address: str
    tls: int
    plain: int
    upstream: int
    certificate: Certificate
    folder: Path


@contextlib.contextmanager
def running_shipped(name: str, place: Place) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts one of `SHIPPED`; a test waits until it listens."""
    with running(name, SHIPPED[name](place), place) as process:
        yield process


@contextlib.contextmanager
def running(
    name: str, arguments: Sequence[str], place: Place, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts a program in its place's folder, where its log is."""
    path = program(name)
    own = {"XDG_DATA_HOME": str(place.folder), "XDG_CONFIG_HOME": str(place.folder), **environment}
    with (place.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [path, *arguments],
            env=os.environ | own,
            stdout=log,
            stderr=log,
            cwd=place.folder,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def _nginx(place: Place) -> list[str]:
    changes = [
        ("127.0.0.1:8080", f"127.0.0.1:{place.upstream}"),
        ("listen 443 ssl", f"listen {place.address}:{place.tls} ssl"),
        ("listen 80", f"listen {place.address}:{place.plain}"),
        ("app.example.com", "localhost"),
    ]
    if brotli := brotli_module():
        changes += [("#load_module modules/", f"load_module {brotli.parent}/"), ("#brotli", "brotli")]
    file = written(place, "nginx.conf", *certificate_of(place), *changes)
    return ["-p", str(place.folder), "-c", str(file), "-g", directives(place.folder)]


def _caddy(place: Place) -> list[str]:
    file = written(
        place,
        "Caddyfile",
        *certificate_of(place),
        ("127.0.0.1:8080", f"127.0.0.1:{place.upstream}"),
        ("http_port 80", f"http_port {place.plain}\n\tadmin off\n\tdefault_bind {place.address}"),
        ("https_port 443", f"https_port {place.tls}"),
        ("app.example.com {", "localhost {"),
    )
    return ["run", "--adapter", "caddyfile", "--config", str(file)]


def _haproxy(place: Place) -> list[str]:
    both = place.folder / "both.pem"
    both.write_bytes(place.certificate.cert.read_bytes() + place.certificate.key.read_bytes())
    file = written(
        place,
        "haproxy.cfg",
        ("server one 127.0.0.1:8080", f"server one 127.0.0.1:{place.upstream}"),
        ("bind :443", f"bind {place.address}:{place.tls}"),
        ("bind :80", f"bind {place.address}:{place.plain}"),
        ("/etc/ssl/app.example.com.pem", str(both)),
    )
    return ["-db", "-f", str(file)]


def _traefik(place: Place) -> list[str]:
    route = written(
        place,
        "traefik/bff.yaml",
        *certificate_of(place),
        ("127.0.0.1:8080", f"127.0.0.1:{place.upstream}"),
        ("app.example.com", "localhost"),
    )
    file = written(
        place,
        "traefik/traefik.yaml",
        ('":443"', f"{place.address}:{place.tls}"),
        ('":80"', f"{place.address}:{place.plain}"),
        ("/etc/traefik/bff.yaml", str(route)),
    )
    return [f"--configFile={file}"]


def _envoy(place: Place) -> list[str]:
    file = written(
        place,
        "envoy.yaml",
        *certificate_of(place),
        ("0.0.0.0, port_value: 443", f"{place.address}, port_value: {place.tls}"),
        ("0.0.0.0, port_value: 80", f"{place.address}, port_value: {place.plain}"),
        ("127.0.0.1, port_value: 8080", f"127.0.0.1, port_value: {place.upstream}"),
        ("app.example.com", "localhost"),
    )
    return ["-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]


SHIPPED: Mapping[str, Callable[[Place], list[str]]] = MappingProxyType(
    {"nginx": _nginx, "caddy": _caddy, "haproxy": _haproxy, "traefik": _traefik, "envoy": _envoy}
)
"""The arguments of each program, which writes its files into the place's folder."""


def certificate_of(place: Place) -> list[tuple[str, str]]:
    """The changes that put the test's certificate in the place of the example's."""
    return [
        ("/etc/ssl/app.example.com.pem", str(place.certificate.cert)),
        ("/etc/ssl/app.example.com.key", str(place.certificate.key)),
    ]


def written(place: Place, shipped: str, *changes: tuple[str, str]) -> Path:
    """Writes a shipped file, changed, into the place's folder; `shipped` is its path below `config`."""
    text = (ROOT / "config" / shipped).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file = place.folder / Path(shipped).name
    file.write_text(text, encoding="utf-8")
    return file


class Towards(httpcore.AsyncNetworkBackend):
    """Connections to `localhost` at some ports go to another loopback address."""

    def __init__(self, address: str, *ports: int) -> None:
        self._address, self._ports = address, ports
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the interface
        local_address: str | None = None,
        socket_options: object = None,  # noqa: ARG002 - part of the interface
    ) -> httpcore.AsyncNetworkStream:
        host = self._address if port in self._ports else host
        return await self._inner.connect_tcp(host, port, timeout, local_address)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def directed(client: httpx.AsyncClient, place: Place) -> None:
    """Has a client meet the reverse proxy of this place wherever it goes to the public URL."""
    transport = client._transport
    assert isinstance(transport, httpx.AsyncHTTPTransport)
    transport._pool._network_backend = Towards(place.address, place.tls, place.plain)
