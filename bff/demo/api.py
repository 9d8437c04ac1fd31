"""A sample backend: orders, each user's own, for a valid access token.

It has no cookies and no sessions: the verifier names the user. Orders are kept in memory, and so are the
tokens that were revoked here by hand (to watch how the proxy heals a 401).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bff.verify import BearerAuth, Claims, OwnRevocations, Revocations, TokenVerifier

MAX_ORDERS = 200  # of one user; the oldest make room
MAX_BODY = 16 * 1024
MAX_QUANTITY = 999
MAX_ITEM = 80
EVENTS = 5
_SAMPLES = (("Tea, two tins", 2, "delivered"), ("Playing cards", 1, "shipped"), ("Pocket watch", 1, "paid"))


@dataclass(frozen=True, slots=True)
class Order:
    """One order, as the API shows it."""

    id: str
    item: str
    quantity: int
    status: str


class Orders:
    """The orders of all users, and the revoked tokens."""

    def __init__(self) -> None:
        self._numbers = count(1001)
        self._of: dict[str, dict[str, Order]] = {}
        self._revoked: dict[str, float] = {}

    def of(self, sub: str) -> dict[str, Order]:
        """The orders of one user by id, oldest first; a new user finds a few."""
        if sub not in self._of:
            self._of[sub] = {}
            for sample in _SAMPLES:
                self.add(sub, *sample)
        return self._of[sub]

    def add(self, sub: str, item: str, quantity: int, status: str = "new") -> Order:
        """Adds an order."""
        mine = self.of(sub)
        order = Order(str(next(self._numbers)), item, quantity, status)
        mine[order.id] = order
        if len(mine) > MAX_ORDERS:
            del mine[next(iter(mine))]
        return order

    def revoke(self, claims: Claims) -> None:
        """Refuses a token from now on, until its end."""
        now = time.time()
        self._revoked = {jti: exp for jti, exp in self._revoked.items() if exp > now}
        self._revoked[claims.jti] = claims.exp

    async def is_revoked(self, claims: Claims) -> bool:
        """Return True if a token was revoked here."""
        return claims.jti in self._revoked


class OrdersApi:
    """The endpoints. `interval`: seconds between two events of the stream."""

    def __init__(self, orders: Orders, interval: float) -> None:
        self._orders = orders
        self._interval = interval

    async def list(self, request: Request) -> Response:
        """GET /orders."""
        orders = self._orders.of(_claims(request).sub).values()
        return JSONResponse({"orders": [asdict(order) for order in orders]})

    async def create(self, request: Request) -> Response:
        """POST /orders with `{"item": …, "quantity": …}`: 201, or 400 with the mistake."""
        item, quantity = _read_order(await _read_json(request))
        order = self._orders.add(_claims(request).sub, item, quantity)
        return JSONResponse(asdict(order), 201, headers={"Location": f"/orders/{order.id}"})

    async def show(self, request: Request) -> Response:
        """GET /orders/{id}: one's own, else 404."""
        order = self._orders.of(_claims(request).sub).get(request.path_params["id"])
        if order is None:
            raise HTTPException(404, "There is no such order.")
        return JSONResponse(asdict(order))

    async def stream(self, request: Request) -> Response:
        """GET /orders/stream: a few events, one after the other."""
        orders = list(self._orders.of(_claims(request).sub).values())

        async def events() -> AsyncIterator[str]:
            for number in range(EVENTS):
                order = orders[number % len(orders)]
                data = json.dumps(
                    {"tick": number + 1, "of": EVENTS, "order": order.id, "status": order.status}
                )
                yield f"id: {number + 1}\nevent: order\ndata: {data}\n\n"
                await asyncio.sleep(self._interval)

        return StreamingResponse(
            events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def revoke_my_token(self, request: Request) -> Response:
        """POST /revoke-my-token: the next call with this token is 401 `invalid_token`."""
        self._orders.revoke(_claims(request))
        return JSONResponse({"revoked": True})

    async def whoami(self, request: Request) -> Response:
        """GET /whoami: the user, and the names of the request's headers; never the token."""
        claims = _claims(request)
        return JSONResponse(
            {
                "sub": claims.sub,
                "client_id": claims.client_id,
                "scope": sorted(claims.scope),
                "bearer": request.headers.get("authorization", "").lower().startswith("bearer "),
                "headers": sorted({name.decode("latin-1") for name, _ in request.headers.raw}),
            }
        )


def create_app(
    issuer: str,
    audience: str,
    *,
    interval: float = 1.0,
    revocations: Sequence[Revocations] = (),
    ca_file: Path | None = None,
) -> Starlette:
    """Builds the API; it takes access tokens of this issuer for this audience, unless they were revoked."""
    orders = Orders()
    api = OrdersApi(orders, interval)
    own = OwnRevocations(orders.is_revoked)
    verifier = TokenVerifier(
        issuer=issuer, audience=audience, revocations=[own, *revocations], cooldown=1.0, ca_file=ca_file
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await verifier.close()

    return Starlette(
        routes=[
            Route("/orders", api.list),
            Route("/orders", api.create, methods=["POST"]),
            Route("/orders/stream", api.stream),
            Route("/orders/{id}", api.show),
            Route("/revoke-my-token", api.revoke_my_token, methods=["POST"]),
            Route("/whoami", api.whoami),
            Route("/healthz", _health),
        ],
        middleware=[Middleware(BearerAuth, verifier=verifier, open_path=lambda path: path == "/healthz")],
        exception_handlers={HTTPException: _tell},
        lifespan=lifespan,
    )


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _tell(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def _claims(request: Request) -> Claims:
    claims = request.scope["claims"]
    assert isinstance(claims, Claims)
    return claims


async def _read_json(request: Request) -> Any:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, "The body is too large.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body must be JSON.") from None


def _read_order(body: Any) -> tuple[str, int]:
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    item, quantity = fields.get("item"), fields.get("quantity", 1)
    if not isinstance(item, str) or not 1 <= len(item.strip()) <= MAX_ITEM:
        raise HTTPException(400, f"item must be a text of 1 to {MAX_ITEM} characters.")
    whole = isinstance(quantity, int) and not isinstance(quantity, bool)
    if not whole or not 1 <= quantity <= MAX_QUANTITY:
        raise HTTPException(400, f"quantity must be a whole number from 1 to {MAX_QUANTITY}.")
    return item.strip(), quantity
