"""`BearerAuth`: plain ASGI middleware that lets requests with a good access token through."""

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from .claims import TokenRefusedError
from .request_parts import RequestParts
from .verifier import TokenVerifier

# ASGI's types, as Starlette spells them: a service on another framework has no Starlette.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY_VIOLATION = 1008  # RFC 6455 7.4.1
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class BearerAuth:
    """Puts the claims of a good token at `scope["claims"]`; answers all other requests itself (RFC 6750).

    The token is read from the `Authorization` header only, never from a query or a form (RFC 9700 4.3.2).

    Args:
        app: the protected application.
        verifier: checks the tokens.
        open_path: returns True for a path that needs no token; it gets no claims.
        scope: the scope that every token needs.
    """

    def __init__(
        self,
        app: ASGIApp,
        verifier: TokenVerifier,
        open_path: Callable[[str], bool] | None = None,
        scope: Collection[str] = (),
    ) -> None:
        self._app, self._verifier, self._open_path = app, verifier, open_path
        self._scope = frozenset(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        open_here = self._open_path is not None and self._open_path(scope.get("path", ""))
        if scope["type"] not in ("http", "websocket") or open_here:
            await self._app(scope, receive, send)
            return
        try:
            claims = await self._verifier.verify_request(RequestParts.of_scope(scope), self._scope)
        except TokenRefusedError as error:
            await refuse(scope, send, error)
            return
        scope["claims"] = claims
        nonce = claims.dpop_nonce
        await self._app(scope, receive, send if nonce is None else _with_nonce(send, nonce))


def _with_nonce(send: Send, nonce: str) -> Send:
    """Returns a `send` that puts the nonce for the next proof into the head of the answer."""

    async def sent(message: Message) -> None:
        if message["type"] in _STARTS:
            fields = [*(message.get("headers") or ()), (b"dpop-nonce", nonce.encode("ascii"))]
            message = {**message, "headers": fields}
        await send(message)

    return sent


async def refuse(scope: Scope, send: Send, error: TokenRefusedError) -> None:
    """Answers a refused request, or closes a refused WebSocket."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": error.refusal.reason})
        return
    body = json.dumps(error.body).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
    fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
