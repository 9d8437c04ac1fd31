"""The protocol classes that uvicorn is given, and their settings."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bff.policy.frontend_table import hosts_of
from bff.policy.request_limits import RequestLimits
from bff.policy.request_refusal import Refused
from bff.proxy.server.http_protocol import HttpServerProtocol
from bff.proxy.server.websocket_protocol import WebSocketServerProtocol
from bff.settings.frontends import all_routes
from bff.settings.model import RouteSettings, ServerSettings, Settings


class ProtocolOptions(NamedTuple):
    """The options of the protocol classes that other settings change. `websocket` None: no upgrades."""

    limits: RequestLimits
    websocket: type[WebSocketServerProtocol] | None
    max_message: int


def protocol_options(settings: Settings) -> ProtocolOptions:
    """Makes the options for connections that begin from now on."""
    made = websocket_options(settings.server, all_routes(settings))
    served = made["ws"] != "none"
    return ProtocolOptions(
        RequestLimits.configured(settings.server, settings.forward_auth.hosts, hosts_of(settings)),
        made["ws"] if served else None,
        made["ws_max_size"] if served else 0,
    )


def client_protocol(
    settings: ServerSettings,
    refused: Refused | None = None,
    asking_hosts: Iterable[str] = (),
    hosts: frozenset[bytes] | None = None,
) -> type[HttpServerProtocol]:
    """Makes the protocol class for uvicorn's `http=`.

    `refused` is called with each request that is not let in; `asking_hosts` are those of `[forward_auth]`,
    `hosts` those of all frontends.
    """
    members: dict[str, Any] = {"limits": RequestLimits.configured(settings, asking_hosts, hosts)}
    if refused is not None:
        members["refused"] = staticmethod(refused)
    return type(HttpServerProtocol.__name__, (HttpServerProtocol,), members)


def websocket_options(server: ServerSettings, routes: Sequence[RouteSettings]) -> dict[str, Any]:
    """Makes uvicorn's options for WebSockets; where no route takes them the connection refuses upgrades."""
    served = [route for route in routes if route.websocket]
    if not served:
        return {"ws": "none"}
    members = {"write_timeout": server.write_timeout}
    return {
        "ws": type(WebSocketServerProtocol.__name__, (WebSocketServerProtocol,), members),
        "ws_max_size": max(route.websocket_max_message for route in served),
        "ws_ping_interval": server.websocket_ping,
        "ws_ping_timeout": server.websocket_ping,
    }
