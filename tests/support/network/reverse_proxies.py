"""The reverse proxies whose configurations the project ships, each run with the file as it is shipped.

The example's names, addresses and ports are replaced by the test's, and nothing else.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.structure.source import ROOT
from tests.support.network.nginx import NGINX, running_nginx
from tests.support.network.tls import Certificate

_SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a reverse proxy and of the proxy behind it."""

    tls: int
    plain: int
    upstream: int


def found(name: str) -> str | None:
    """The program's path; None where it is not installed."""
    return NGINX if name == "nginx" else shutil.which(name) or shutil.which(name, path=_SBIN)


@contextlib.contextmanager
def running_shipped(
    name: str, folder: Path, certificate: Certificate, ports: Ports
) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts `nginx`, `caddy` or `haproxy`; a test waits until it listens."""
    if name == "nginx":
        with running_nginx(folder, _nginx(certificate, ports)) as process:
            yield process
        return
    text, arguments = _caddy(certificate, ports) if name == "caddy" else _haproxy(certificate, ports, folder)
    file = folder / f"{name}.conf"
    file.write_text(text)
    program = found(name)
    assert program is not None
    environment = os.environ | {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *(argument.format(file=file) for argument in arguments)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _nginx(certificate: Certificate, ports: Ports) -> str:
    return _replaced(
        "nginx.conf",
        ("127.0.0.1:8080", f"127.0.0.1:{ports.upstream}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{ports.tls} ssl"),
        ("listen 80", f"listen 127.0.0.1:{ports.plain}"),
        ("/etc/ssl/app.example.com.pem", str(certificate.cert)),
        ("/etc/ssl/app.example.com.key", str(certificate.key)),
        ("app.example.com", "localhost"),
    )


def _caddy(certificate: Certificate, ports: Ports) -> tuple[str, list[str]]:
    text = _replaced(
        "Caddyfile",
        ("127.0.0.1:8080", f"127.0.0.1:{ports.upstream}"),
        ("http_port 80", f"http_port {ports.plain}\n\tadmin off\n\tdefault_bind 127.0.0.1"),
        ("https_port 443", f"https_port {ports.tls}"),
        ("/etc/ssl/app.example.com.pem", str(certificate.cert)),
        ("/etc/ssl/app.example.com.key", str(certificate.key)),
        ("app.example.com {", "localhost {"),
    )
    return text, ["run", "--adapter", "caddyfile", "--config", "{file}"]


def _haproxy(certificate: Certificate, ports: Ports, folder: Path) -> tuple[str, list[str]]:
    both = folder / "both.pem"
    both.write_bytes(certificate.cert.read_bytes() + certificate.key.read_bytes())
    text = _replaced(
        "haproxy.cfg",
        ("server one 127.0.0.1:8080", f"server one 127.0.0.1:{ports.upstream}"),
        ("bind :443", f"bind 127.0.0.1:{ports.tls}"),
        ("bind :80", f"bind 127.0.0.1:{ports.plain}"),
        ("/etc/ssl/app.example.com.pem", str(both)),
    )
    return text, ["-db", "-f", "{file}"]


def _replaced(shipped: str, *changes: tuple[str, str]) -> str:
    text = (ROOT / "config" / shipped).read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text
