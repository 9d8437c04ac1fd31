"""The demo's plan: its programs, their settings and ports. No process is started here.

Rule 1: secrets are made anew for each run, and handed on by the environment only.
Rule 2: all programs listen on loopback. The page is on `localhost` and the issuer on 127.0.0.1: two sites,
as usual for a provider, so that sign-in is as cross-site as in production, and their cookies lie apart.
"""

import errno
import json
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import bff
from bff.embedded import free_port

HERE = Path(__file__).parent
CLIENT_ID = "demo-bff"
AUDIENCE = "orders-api"
ACCESS_TOKEN_LIFETIME = 60  # seconds
SAMPLE_PAGE = HERE / "page"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of all programs."""

    bff: int = 8080
    issuer: int = 9000
    api: int = 8000
    redis: int = 6390
    ops: int = 9090


@dataclass(frozen=True, slots=True)
class Service:
    """A program of the demo, and the address that answers 200 when it is ready."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    ready_path: str


def choose_ports(wanted: Ports) -> tuple[Ports, list[str]]:
    """Returns free ports, and a sentence for each that differs from the wanted one."""
    chosen: dict[str, int] = {}
    said: list[str] = []
    for name in (field.name for field in fields(Ports)):
        port: int = getattr(wanted, name)
        if port == 0 or port in chosen.values() or not is_free(port):
            free = free_port()
            while free in chosen.values():
                free = free_port()
            if port:
                said.append(f"Port {port} is taken: {_LABELS[name]} uses {free}.")
            port = free
        chosen[name] = port
    return Ports(**chosen), said


def is_free(port: int) -> bool:
    """Return True if a port is free for IPv4 and IPv6: browsers may try either for `localhost`."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            # A machine without IPv6 has nobody listening there.
            if family == socket.AF_INET or error.errno == errno.EADDRINUSE:
                return False
    return True


def config_file() -> Path:
    """The demo's settings: beside this file in an installed package, in `config/` in the source."""
    installed = HERE / "demo.toml"
    return installed if installed.exists() else HERE.parents[1] / "config" / "demo.toml"


def services(
    ports: Ports,
    redis_url: str,
    environ: Mapping[str, str],
    lifetime: int = ACCESS_TOKEN_LIFETIME,
    page: Path = SAMPLE_PAGE,
) -> list[Service]:
    """The programs beside Redis, with fresh secrets; access tokens live `lifetime` seconds."""
    public_url, issuer = f"http://localhost:{ports.bff}", f"http://127.0.0.1:{ports.issuer}"
    client_secret = secrets.token_urlsafe(32)
    common = common_environment(environ)
    client = {
        "client_id": CLIENT_ID,
        "client_secret": client_secret,
        "redirect_uris": [f"{public_url}/bff/callback"],
        "post_logout_redirect_uris": [f"{public_url}/"],
        "backchannel_logout_uri": f"{public_url}/bff/backchannel-logout",
        "name": "the orders demo",
    }
    issuer_environment = {
        "ISSUER_URL": issuer,
        "ISSUER_REDIS_URL": redis_url,
        "ISSUER_AUDIENCE": AUDIENCE,
        "ISSUER_ACCESS_TOKEN_LIFETIME": str(lifetime),
        "ISSUER_CLIENTS": json.dumps([client]),
    }
    bff_environment = {
        "BFF_SERVER__PUBLIC_URL": public_url,
        "BFF_SERVER__PORT": str(ports.bff),
        "BFF_SERVER__OPS_PORT": str(ports.ops),
        "BFF_REDIS__URL": redis_url,
        "BFF_SESSION__KEYS": secrets.token_urlsafe(32),
        "BFF_PROVIDER__ISSUER": issuer,
        "BFF_PROVIDER__CLIENT_ID": CLIENT_ID,
        "BFF_PROVIDER__CLIENT_SECRET": client_secret,
        "BFF_ROUTE": json.dumps([{"path": "/api", "upstream": f"http://127.0.0.1:{ports.api}"}]),
        "BFF_SPA__DIR": str(page),
    }
    python = sys.executable
    return [
        Service(
            "issuer",
            (python, "-m", "bff.issuer.cli.main", "serve", "--port", str(ports.issuer), "--demo-accounts"),
            {**common, **issuer_environment},
            ports.issuer,
            "/healthz",
        ),
        Service(
            "orders API",
            (python, "-m", "bff.demo.cli", "api", "--port", str(ports.api), "--issuer", issuer),
            {**common, "API_REDIS_URL": redis_url},
            ports.api,
            "/healthz",
        ),
        Service(
            "BFF",
            (python, "-m", "bff", "serve", "--config", str(config_file())),
            {**common, **bff_environment},
            ports.ops,
            "/readyz",
        ),
    ]


def common_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of every program of the demo: ours, without settings of other programs."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("BFF_", "ISSUER_")) or name.startswith(_MEANT_FOR_US)
    }
    package = str(Path(bff.__file__).parents[1])
    paths = [package, *filter(None, [kept.get("PYTHONPATH")])]
    no_proxy = ["localhost", "127.0.0.1", *filter(None, [kept.get("NO_PROXY")])]
    return {
        **kept,
        "PYTHONPATH": ":".join(paths),
        "PYTHONSAFEPATH": "1",  # a file called redis.py in the working directory is not ours
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": ",".join(no_proxy),
        "no_proxy": ",".join(no_proxy),
    }


_MEANT_FOR_US = ("BFF_LOG__", "BFF_SERVER__WORKERS", "BFF_REDIS__TIMEOUT")
_LABELS = {
    "bff": "the BFF",
    "issuer": "the issuer",
    "api": "the API",
    "redis": "Redis",
    "ops": "the ops port",
}
