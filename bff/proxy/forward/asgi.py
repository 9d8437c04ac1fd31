"""The ASGI front: a request for a configured route, over any ASGI server.

A plain callable: middleware that wraps bodies or cancels scopes has no business here. Requests for other
paths go on to the application behind it, untouched.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from bff.errors import Problem
from bff.policy.admission import Admitted, Denied, RequestHead, admit
from bff.policy.fields import Fields
from bff.policy.origin import Guard
from bff.policy.routes import RouteTable, is_own
from bff.proxy.forward.asgi_call import AsgiCall, AsgiFastCall, FastWaits
from bff.proxy.forward.context import ForwardingContext
from bff.proxy.forward.fast_path import RequestTemplate
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.server.head_cache import HEAD_EXTENSION, KnownHead
from bff.proxy.upstream.interfaces import Header


class ForwardingApp:
    """Forwards what belongs to a route, and hands the rest to `otherwise`."""

    def __init__(
        self,
        *,
        parts: ForwardingContext,
        routes: RouteTable,
        guard: Guard,
        websockets: ASGIApp,
        otherwise: ASGIApp,
    ) -> None:
        self.parts = parts
        self._websockets = websockets
        self._routes = routes
        self._guard = guard
        self._otherwise = otherwise
        self._waits = FastWaits()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The ASGI entry point."""
        if scope["type"] == "websocket":
            return self._websockets(scope, receive, send)
        if scope["type"] != "http" or is_own(scope["raw_path"]):
            return self._otherwise(scope, receive, send)
        head: KnownHead | None = scope.get("extensions", {}).get(HEAD_EXTENSION)
        if head is not None:
            prepared = head["known"].prepared.get(head["line"])
            if prepared is not None and (plain := _plain(prepared, send)) is not None:
                return plain.run(receive, self._waits)
        return self._whole(scope, receive, send, head)

    async def _whole(self, scope: Scope, receive: Receive, send: Send, head: KnownHead | None) -> None:
        request = request_head(scope)
        verdict = self.admit(request)
        if isinstance(verdict, Denied) and verdict.problem is Problem.NO_ROUTE:
            await self._otherwise(scope, receive, send)
            return
        call = AsgiCall(self.parts.tasks, send, bodyless=request.body_length == 0, ours=head is not None)
        exchange = call.exchange = ForwardedCall(self.parts, request, verdict, call)
        exchange.begin()
        if head is not None:
            self._learn(head, exchange)
        await call.run(receive)

    def _learn(self, head: KnownHead, exchange: ForwardedCall) -> None:
        """Takes note of a head that was let in."""
        if exchange.admitted is not None:
            answers = self.parts.destinations[exchange.admitted.route.path].field_answers
            head["heads"].learn(head["known"], head["line"], self.parts, exchange, answers)

    def admit(self, request: RequestHead) -> Admitted | Denied:
        """Applies path, method, origin and size rules."""
        return admit(request, self._routes, self._guard)


def _plain(prepared: RequestTemplate[Header], send: Send) -> AsgiFastCall | None:
    """The call, if it can be made now."""
    connection = prepared.connection()
    if connection is None and prepared.reader is None:
        return None
    return AsgiFastCall(prepared, connection, send)


def request_head(scope: Scope) -> RequestHead:
    """The head of an HTTP request or an upgrade, from its ASGI scope."""
    headers: list[Header] = list(scope["headers"])
    length: int | None = 0
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            length = None
    return RequestHead(
        method=scope.get("method", "GET").encode("ascii"),  # an upgrade to WebSocket is a GET
        raw_path=scope["raw_path"],
        query=scope["query_string"],
        fields=Fields(headers),
        peer=_peer(scope),
        body_length=length,
    )


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"
