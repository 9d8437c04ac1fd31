"""The opening of a WebSocket to a backend, by the `websockets` library.

Rule 1: the connection is made as all others are (addresses in turn, TLS names, Unix sockets), and the
handshake is done once on it: a redirect is an answer like any other; to follow it would carry the token away.
Rule 2: no extension is offered, so none, compression included, is accepted.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from bff.policy.fields import Header
from bff.policy.routes import Route
from bff.upstream.connector import Connector, UpstreamFaultError
from bff.upstream.interfaces import Fault, FaultKind, UpstreamRequest
from bff.upstream.request_writer import request_head

_QUEUE = 4  # messages that are read ahead; beyond, the backend is made to wait
_CLOSE_WAIT = 2.0  # seconds that a backend may take to answer a close
_FIRST_STATUS = 200


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of a backend that did not switch protocols."""

    status: int
    headers: list[Header]
    body: bytes


async def open_socket(
    request: UpstreamRequest, route: Route, dialer: Connector, *, subprotocols: Sequence[str], ping: float
) -> ClientConnection | Answered:
    """Connects and shakes hands; the caller closes the connection.

    Args:
        request: the upgrade; fields of a handshake are not sent, which is this connection's own.
        route: whose timeouts and limits hold.
        dialer: makes the connection.
        subprotocols: those that the client offers; the backend chooses one or none (RFC 6455 4.2.2).
        ping: seconds between two pings, and for the answer to one.

    Raises:
        UpstreamFaultError: no connection, no answer in time, or one that is no valid handshake.
        UnsafeRequestError: the request cannot be written unambiguously.
    """
    request_head(request)  # the same wall as before every other request; the library writes its own head
    path, _, query = request.target.decode("ascii").partition("?")
    upstream, settings = route.upstream, route.settings
    uri = WebSocketURI(upstream.scheme == "https", upstream.host, upstream.port, path, query)

    def make() -> ClientConnection:
        protocol = ClientProtocol(
            uri,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            max_size=settings.websocket_max_message,
        )
        return ClientConnection(
            protocol, ping_interval=ping, ping_timeout=ping, close_timeout=_CLOSE_WAIT, max_queue=_QUEUE
        )

    deadline = asyncio.get_running_loop().time() + settings.connect_timeout
    connection = await dialer.dial(make, deadline)
    opened = False
    try:
        outcome = await _shake_hands(connection, request.headers, settings.response_timeout)
        opened = outcome is None
    finally:
        if not opened:
            connection.transport.abort()
    return connection if outcome is None else outcome


async def _shake_hands(
    connection: ClientConnection, headers: Sequence[Header], seconds: float
) -> Answered | None:
    fields = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if not _is_handshake_field(name)
    ]
    try:
        async with asyncio.timeout(seconds):
            await connection.handshake(fields, None)
    except TimeoutError:
        raise UpstreamFaultError(Fault(FaultKind.TIMEOUT, "handshake")) from None
    except InvalidStatus as refused:
        answer = refused.response
        if answer.status_code < _FIRST_STATUS:
            raise UpstreamFaultError(Fault(FaultKind.INVALID, "an interim answer to a handshake")) from None
        return Answered(answer.status_code, response_fields(answer.headers.raw_items()), bytes(answer.body))
    except InvalidMessage as broken:
        ended = isinstance(broken.__cause__, EOFError | OSError)
        kind = FaultKind.BROKEN if ended else FaultKind.INVALID
        raise UpstreamFaultError(Fault(kind, "no answer to the handshake")) from broken
    except WebSocketException as failure:
        fault = Fault(FaultKind.INVALID, f"handshake: {type(failure).__name__}")
        raise UpstreamFaultError(fault) from failure
    except OSError as failure:
        raise UpstreamFaultError(Fault(FaultKind.BROKEN, "handshake")) from failure
    connection.start_keepalive()
    return None


def response_fields(items: Iterable[tuple[str, str]]) -> list[Header]:
    """Returns the library's headers in our form, without those of the handshake itself."""
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in items]
    return [field for field in fields if not _is_handshake_field(field[0])]


def _is_handshake_field(name: bytes) -> bool:
    """Returns true if a field, in any spelling, belongs to one connection's handshake (RFC 6455 11.3)."""
    return name.replace(b"_", b"-").startswith(b"sec-websocket-")
