"""`BearerAuth`: plain ASGI middleware that lets requests with a good access token through."""

import json
from collections.abc import Callable, Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from bff.verify.claims import Refusal, TokenRefusedError, challenge
from bff.verify.verifier import TokenVerifier

POLICY_VIOLATION = 1008  # RFC 6455 7.4.1


class BearerAuth:
    """Puts the claims of a good token at `scope["claims"]`; answers everything else itself (RFC 6750).

    The token is read from the `Authorization` header only, never from a query or a form (RFC 9700 4.3.2).

    Args:
        app: what is protected.
        verifier: who checks.
        open_path: tells which paths need no token; they get no claims.
        scope: what every token has to be good for.
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
            scope["claims"] = await self._verifier.verify(bearer_of(scope), self._scope)
        except TokenRefusedError as error:
            await refuse(scope, send, error.refusal, self._scope)
            return
        await self._app(scope, receive, send)


def bearer_of(scope: Scope) -> str:
    """Returns the token of a request; TokenRefusedError if there is none, or more than one header."""
    headers = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(headers) > 1:
        raise TokenRefusedError(Refusal.DOUBLED)
    scheme, _, token = headers[0].partition(b" ") if headers else (b"", b"", b"")
    if scheme.lower() != b"bearer" or not token.strip():
        raise TokenRefusedError(Refusal.MISSING)
    try:
        return token.strip().decode("ascii")
    except UnicodeDecodeError:
        raise TokenRefusedError(Refusal.MALFORMED) from None


async def refuse(scope: Scope, send: Send, refusal: Refusal, wanted: Collection[str] = ()) -> None:
    """Answers a refused request, or closes a refused WebSocket. `wanted`: the scope that is needed."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.reason})
        return
    body = json.dumps({"error": refusal.error or refusal.reason, "reason": refusal.reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if refusal is Refusal.UNAVAILABLE:
        headers.append((b"retry-after", b"2"))
    else:
        headers.append((b"www-authenticate", challenge(refusal, wanted).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
