"""The ASGI front: requests for configured routes, over any ASGI server.

A plain callable: middleware that wraps bodies or cancels scopes has no business here. Requests for other
paths go on to the application behind it, untouched.
"""

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from bff.errors import Problem
from bff.policy.admission import Denied, RequestHead, admit
from bff.policy.csrf import Guard
from bff.policy.fields import Fields, Header
from bff.policy.routes import RouteTable
from bff.proxy.forward.asgi_client_side import AsgiClientSide
from bff.proxy.forward.client_side import ClientSide
from bff.proxy.forward.fast_path import FastPath
from bff.proxy.forward.forward_auth import ForwardAuth, ForwardAuthCall
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.forwarding_context import ForwardingContext


@dataclass(frozen=True, slots=True, eq=False)
class ForwardingApp:
    """The ASGI application that forwards: calls of a route to its backend, all others to `otherwise`.

    `fast_path` is for a server protocol of ours; nothing here uses it.
    """

    context: ForwardingContext
    fast_path: FastPath
    routes: RouteTable
    guard: Guard
    forward_auth: ForwardAuth
    websockets: ASGIApp
    otherwise: ASGIApp
    calls: type[ForwardedCall] = ForwardedCall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "websocket":
            await self.websockets(scope, receive, send)
            return
        if scope["type"] == "http" and self.takes(scope["raw_path"]):
            request = request_head(scope)
            client = AsgiClientSide(self.context.tasks, send, bodyless=request.body_length == 0)
            if (call := self.call(request, client)) is not None:
                await client.run(call, receive)
                return
        await self.otherwise(scope, receive, send)

    def takes(self, raw_path: bytes) -> bool:
        """Returns True for a path that `call` is to be asked for, and not `otherwise`."""
        return not self.routes.is_own(raw_path) or self.forward_auth.takes(raw_path)

    def call(self, request: RequestHead, client: ClientSide) -> ForwardedCall | ForwardAuthCall | None:
        """Returns the call of a request, which has not begun; None for a path of no route."""
        if self.forward_auth.takes(request.raw_path):
            return self.forward_auth.call(self.context, request, client)
        verdict = admit(request, self.routes, self.guard)
        if isinstance(verdict, Denied) and verdict.problem is Problem.NO_ROUTE:
            return None
        return self.calls(self.context, request, verdict, client)


def request_head(scope: Scope) -> RequestHead:
    """Returns the head of an HTTP request or an upgrade, from its ASGI scope."""
    headers: list[Header] = list(scope["headers"])
    client = scope.get("client")
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
        peer=client[0] if client else "unknown",
        body_length=length,
    )
