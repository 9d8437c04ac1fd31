"""The ASGI front: a request for a configured route, over any ASGI server.

A plain callable: middleware that wraps bodies or cancels scopes has no business here. Requests for other
paths go on to the application behind it, untouched.

Rule 1: the request's body is asked for only while the exchange takes it; so the server's own flow control
holds the client back.
Rule 2: at most one buffer's worth of the answer waits here; beyond that the backend is told to pause.
Rule 3: an answer is broken off by returning without its last message: the server then closes the connection.
"""

import asyncio
from collections import deque

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bff.errors import Problem
from bff.policy.admission import Admitted, Denied, RequestHead, admit
from bff.policy.fields import Fields
from bff.policy.origin import Guard
from bff.policy.routes import RouteTable, is_own
from bff.proxy.exchange import Exchange
from bff.proxy.parts import ExchangeParts
from bff.proxy.sinks import Header

_BUFFER = 64 * 1024
_NOT_MODIFIED = 304


class ForwardingApp:
    """Forwards what belongs to a route, and hands the rest to `otherwise`."""

    def __init__(
        self,
        *,
        parts: ExchangeParts,
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "websocket":
            await self._websockets(scope, receive, send)
            return
        if scope["type"] != "http" or is_own(scope["raw_path"]):
            await self._otherwise(scope, receive, send)
            return
        request = request_head(scope)
        verdict = self.admit(request)
        if isinstance(verdict, Denied) and verdict.problem is Problem.NO_ROUTE:
            await self._otherwise(scope, receive, send)
            return
        call = _AsgiCall(self.parts, request, verdict, send)
        await call.run(receive)

    def admit(self, request: RequestHead) -> Admitted | Denied:
        """Applies path, method, origin and size rules."""
        return admit(request, self._routes, self._guard)


def request_head(scope: Scope) -> RequestHead:
    """The head of an HTTP request or an upgrade, from its ASGI scope."""
    headers: list[Header] = list(scope["headers"])
    length: int | None = 0
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            length = None
    client = scope.get("client")
    return RequestHead(
        method=scope.get("method", "GET").encode("ascii"),  # an upgrade to WebSocket is a GET
        raw_path=scope["raw_path"],
        query=scope["query_string"],
        fields=Fields(headers),
        peer=client[0] if client else "unknown",
        body_length=length,
    )


class _AsgiCall:
    """The client's side of one exchange (`ClientSide`)."""

    def __init__(
        self, parts: ExchangeParts, request: RequestHead, verdict: Admitted | Denied, send: Send
    ) -> None:
        self._exchange = Exchange(parts, request, verdict, self)
        self._tasks = parts.tasks
        self._send = send
        self._outbox: deque[Message] = deque()
        self._waiting = 0  # bytes in the outbox
        self._paused = False
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()  # the exchange takes the request's body
        self._body_over = request.body_length == 0
        self._ended = False

    async def run(self, receive: Receive) -> None:
        """Runs the exchange to its end, or until the client has gone."""
        self._exchange.begin()
        listening = self._tasks.spawn(self._listen(receive), name="client")
        try:
            await self._deliver()
        except BaseException:
            self._exchange.client_gone()
            raise
        finally:
            listening.cancel()

    async def _listen(self, receive: Receive) -> None:
        while True:
            if not self._body_over:
                await self._wanted.wait()
            message = await receive()
            if message["type"] == "http.disconnect":
                self._exchange.client_gone()
                self._ended = True
                self._news.set()
                return
            if chunk := message.get("body", b""):
                self._exchange.body(chunk)
            if not message.get("more_body", False) and not self._body_over:
                self._body_over = True
                self._exchange.body_end()

    async def _deliver(self) -> None:
        while True:
            while self._outbox:
                message = self._outbox.popleft()
                await self._send(message)
                self._waiting -= len(message.get("body", b""))
                if self._paused and self._waiting <= 0:
                    self._paused = False
                    self._exchange.resume_answer()
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()

    # ClientSide

    def send_head(self, status: int, headers: list[Header]) -> None:
        if status == _NOT_MODIFIED:
            # The length there is of a body that is not sent (RFC 9110 8.6); ASGI servers wait for it.
            headers = [header for header in headers if header[0] != b"content-length"]
        self._put({"type": "http.response.start", "status": status, "headers": headers})

    def send_data(self, chunk: bytes) -> None:
        self._waiting += len(chunk)
        self._put({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._waiting > _BUFFER and not self._paused:
            self._paused = True
            self._exchange.pause_answer()

    def send_end(self) -> None:
        self._ended = True
        self._put({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        self._ended = True
        self._news.set()

    def pause_request(self) -> None:
        self._wanted.clear()

    def resume_request(self) -> None:
        self._wanted.set()

    def _put(self, message: Message) -> None:
        self._outbox.append(message)
        self._news.set()
