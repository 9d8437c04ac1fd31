"""The protocol classes that uvicorn is given, and their settings."""

from collections.abc import Sequence
from typing import Any

from bff.proxy.server.protocol import HttpServerProtocol
from bff.proxy.server.request_parser import Refused, RequestLimits
from bff.proxy.websocket.server_protocol import WebSocketServerProtocol
from bff.settings.model import RouteSettings, ServerSettings


def client_protocol(settings: ServerSettings, refused: Refused | None = None) -> type[HttpServerProtocol]:
    """Makes the protocol class for uvicorn's `http=`; `refused` hears of each request that is not let in."""
    members: dict[str, Any] = {"limits": RequestLimits.configured(settings)}
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
