"""Which protocol class uvicorn is given, and with which settings."""

from collections.abc import Sequence
from typing import Any, TypeVar

import uvicorn
from websockets import http11

from bff.observe.logs import get_logger
from bff.proxy.server.lane import LaneProtocol
from bff.proxy.server.protocol import GuardedHttpProtocol, Refused
from bff.proxy.server.request_parser import RequestLimits
from bff.proxy.server.websocket_protocol import GuardedWebSocket
from bff.settings.model import RouteSettings, ServerSettings

KNOWN_UVICORN = ("0.54.",)
"""The versions with which the lane has been tried; `tests/proxy` pins what they rely on."""

P = TypeVar("P", bound=GuardedHttpProtocol)
_log = get_logger("bff.protocols")


def client_protocol(settings: ServerSettings, refused: Refused | None = None) -> type[GuardedHttpProtocol]:
    """The protocol class for uvicorn's `http=`: with the lane where it is wanted and known to work.

    `refused` hears of each refusal at the front door.
    """
    if settings.lane == "off":
        return guarded_protocol(settings, refused)
    if not _known_uvicorn():
        _log.warning("lane_off", detail="not tested with this uvicorn", version=uvicorn.__version__)
        return guarded_protocol(settings, refused)
    return _configured(LaneProtocol, settings, refused)


def guarded_protocol(settings: ServerSettings, refused: Refused | None = None) -> type[GuardedHttpProtocol]:
    """The guarded protocol alone: every request goes through ASGI."""
    return _configured(GuardedHttpProtocol, settings, refused)


def websocket_options(server: ServerSettings, routes: Sequence[RouteSettings]) -> dict[str, Any]:
    """What uvicorn is told of WebSockets; where no route takes them they are refused at the front door."""
    served = [route for route in routes if route.websocket]
    if not served:
        return {"ws": "none"}
    # The front door has bounded the head, and a token may be as long as that; the library's own limit on a
    # line (8 KiB) can be set in no other way once it has been imported.
    http11.MAX_LINE_LENGTH = max(http11.MAX_LINE_LENGTH, server.max_head_bytes)
    http11.MAX_NUM_HEADERS = max(http11.MAX_NUM_HEADERS, server.max_head_fields)
    return {
        "ws": type(GuardedWebSocket.__name__, (GuardedWebSocket,), {"write_timeout": server.write_timeout}),
        "ws_max_size": max(route.websocket_max_message for route in served),
        "ws_ping_interval": server.websocket_ping,
        "ws_ping_timeout": server.websocket_ping,
        "ws_per_message_deflate": False,
    }


def _known_uvicorn() -> bool:
    return uvicorn.__version__.startswith(KNOWN_UVICORN)


def _configured(base: type[P], settings: ServerSettings, refused: Refused | None) -> type[P]:
    members: dict[str, Any] = {"door": RequestLimits.configured(settings)}
    if refused is not None:
        members["refused"] = staticmethod(refused)
    return type(base.__name__, (base,), members)
