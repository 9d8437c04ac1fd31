"""The reverse proxies that forward calls themselves, each run with the file as it is shipped.

The example's names, addresses, ports and secret are replaced by the test's, and nothing else.
"""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from tests.support.network.nginx import directives
from tests.support.network.reverse_proxies import Place, certificate_of, running, written

SECRET = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"
_EXAMPLE = "REPLACE-ME-with-the-secret"


@contextlib.contextmanager
def running_forward_auth(name: str, place: Place, backend: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Starts one of `FORWARD_AUTH`, before a backend at this port; a test waits until it listens."""
    with running(name, FORWARD_AUTH[name](place, backend), place, BFF_FORWARD_AUTH=SECRET) as process:
        yield process


def _nginx(place: Place, backend: int) -> list[str]:
    proof = place.folder / "bff-forward-auth.conf"
    proof.write_text(f'proxy_set_header BFF-Forward-Auth "{SECRET}";\n')
    file = written(
        place,
        "forward-auth/nginx.conf",
        *_addresses(place, backend),
        *certificate_of(place),
        ("listen 443 ssl", f"listen {place.address}:{place.tls} ssl"),
        ("listen 80", f"listen {place.address}:{place.plain}"),
        ("/etc/nginx/bff-forward-auth.conf", str(proof)),
        ("app.example.com", "localhost"),
    )
    return ["-p", str(place.folder), "-c", str(file), "-g", directives(place.folder)]


def _caddy(place: Place, backend: int) -> list[str]:
    file = written(
        place,
        "forward-auth/Caddyfile",
        *_addresses(place, backend),
        *certificate_of(place),
        ("http_port 80\n", f"http_port {place.plain}\n\tadmin off\n\tdefault_bind {place.address}\n"),
        ("https_port 443", f"https_port {place.tls}"),
        ("app.example.com {", "localhost {"),
    )
    return ["run", "--adapter", "caddyfile", "--config", str(file)]


def _envoy(place: Place, backend: int) -> list[str]:
    file = written(
        place,
        "forward-auth/envoy.yaml",
        *certificate_of(place),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:{place.upstream}"),
        ("127.0.0.1, port_value: 8080", f"127.0.0.1, port_value: {place.upstream}"),
        ("127.0.0.1, port_value: 8000", f"127.0.0.1, port_value: {backend}"),
        ("0.0.0.0, port_value: 443", f"{place.address}, port_value: {place.tls}"),
        (_EXAMPLE, SECRET),
    )
    return ["-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]


def _traefik(place: Place, backend: int) -> list[str]:
    dynamic = written(
        place,
        "forward-auth/traefik-dynamic.yaml",
        *_addresses(place, backend),
        *certificate_of(place),
        ("app.example.com", "localhost"),
        (_EXAMPLE, SECRET),
    )
    file = written(
        place,
        "traefik/traefik.yaml",
        ('":443"', f"{place.address}:{place.tls}"),
        ('":80"', f"{place.address}:{place.plain}"),
        ("/etc/traefik/bff.yaml", str(dynamic)),
    )
    return [f"--configFile={file}"]


FORWARD_AUTH: Mapping[str, Callable[[Place, int], list[str]]] = MappingProxyType(
    {"nginx": _nginx, "caddy": _caddy, "envoy": _envoy, "traefik": _traefik}
)
"""The arguments of each program, which writes its files into the place's folder."""


def _addresses(place: Place, backend: int) -> list[tuple[str, str]]:
    return [
        ("127.0.0.1:8080", f"127.0.0.1:{place.upstream}"),
        ("127.0.0.1:8000", f"127.0.0.1:{backend}"),
    ]
