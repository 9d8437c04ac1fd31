"""The reverse proxies that forward calls themselves, each run with the file as it is shipped.

The example's names, addresses, ports and secret are replaced by the test's, and nothing else.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.structure.source import ROOT
from tests.support.network.nginx import running_nginx
from tests.support.network.reverse_proxies import found
from tests.support.network.tls import Certificate
from tests.tools.bench.contenders.envoy import find_envoy

SECRET = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"


@dataclass(frozen=True, slots=True)
class Places:
    """The ports of a reverse proxy, of the proxy behind it and of the backend."""

    tls: int
    plain: int
    bff: int
    backend: int


def program(name: str) -> str | None:
    """The program's path; None where it is not installed."""
    return find_envoy() if name == "envoy" else found(name)


@contextlib.contextmanager
def running_forward_auth(
    name: str, folder: Path, certificate: Certificate, places: Places
) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts `nginx`, `caddy` or `envoy`; a test waits until it listens."""
    if name == "nginx":
        with running_nginx(folder, _nginx(folder, certificate, places)) as process:
            yield process
        return
    binary = program(name)
    assert binary is not None
    file = folder / ("Caddyfile" if name == "caddy" else "envoy.yaml")
    if name == "caddy":
        file.write_text(_caddy(certificate, places))
        arguments = ["run", "--adapter", "caddyfile", "--config", str(file)]
    else:
        file.write_text(_envoy(certificate, places))
        arguments = ["-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    own = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "BFF_FORWARD_AUTH": SECRET}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([binary, *arguments], env=os.environ | own, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _nginx(folder: Path, certificate: Certificate, places: Places) -> str:
    proof = folder / "bff-forward-auth.conf"
    proof.write_text(f'proxy_set_header BFF-Forward-Auth "{SECRET}";\n')
    return _replaced(
        "nginx.conf",
        *_addresses(places),
        *_certificate(certificate),
        ("listen 443 ssl", f"listen 127.0.0.1:{places.tls} ssl"),
        ("listen 80", f"listen 127.0.0.1:{places.plain}"),
        ("/etc/nginx/bff-forward-auth.conf", str(proof)),
        ("app.example.com", "localhost"),
    )


def _caddy(certificate: Certificate, places: Places) -> str:
    return _replaced(
        "Caddyfile",
        *_addresses(places),
        *_certificate(certificate),
        ("http_port 80\n", f"http_port {places.plain}\n\tadmin off\n\tdefault_bind 127.0.0.1\n"),
        ("https_port 443", f"https_port {places.tls}"),
        ("app.example.com {", "localhost {"),
    )


def _envoy(certificate: Certificate, places: Places) -> str:
    return _replaced(
        "envoy.yaml",
        *_certificate(certificate),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:{places.bff}"),
        ("127.0.0.1, port_value: 8080", f"127.0.0.1, port_value: {places.bff}"),
        ("127.0.0.1, port_value: 8000", f"127.0.0.1, port_value: {places.backend}"),
        ("0.0.0.0, port_value: 443", f"127.0.0.1, port_value: {places.tls}"),
        ("REPLACE-ME-with-the-secret", SECRET),
    )


def _addresses(places: Places) -> list[tuple[str, str]]:
    return [
        ("127.0.0.1:8080", f"127.0.0.1:{places.bff}"),
        ("127.0.0.1:8000", f"127.0.0.1:{places.backend}"),
    ]


def _certificate(certificate: Certificate) -> list[tuple[str, str]]:
    return [
        ("/etc/ssl/app.example.com.pem", str(certificate.cert)),
        ("/etc/ssl/app.example.com.key", str(certificate.key)),
    ]


def _replaced(shipped: str, *changes: tuple[str, str]) -> str:
    text = (ROOT / "config" / "forward-auth" / shipped).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text
