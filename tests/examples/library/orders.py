"""An application's own API beside forwarded ones, with a hook of each kind, under the path /shop.

BFF_CONFIG=bff.toml uvicorn --factory orders:create_app     # with server.base_path = "/shop"
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, FastAPI, Request

from bff.library import BFF, Call, NotAllowed, SessionEnd, Settings, SignIn, User, load_settings

DESK = "http://127.0.0.1:8000"
"""A service that the application calls by itself, on the user's behalf."""


def create_app(settings: Settings | None = None, desk: str = DESK) -> FastAPI:
    """Makes the application; without settings they are read as `bff serve` reads them."""
    carts: dict[str, list[str]] = {}

    async def on_sign_in(sign_in: SignIn) -> None:
        if sign_in.claims.get("email_verified") is False:
            raise NotAllowed("email_not_verified")
        carts.setdefault(sign_in.sub, [])

    def on_end(end: SessionEnd) -> None:
        if end.sub is not None:
            carts.pop(end.sub, None)

    def before_forward(call: Call) -> dict[str, str]:
        if call.path.endswith("/internal"):
            raise NotAllowed("internal")
        return {"X-Cart-Size": str(len(carts.get(call.sub or "", [])))}

    bff = BFF(
        settings or load_settings(),
        on_sign_in=on_sign_in,
        on_end=on_end,
        before_forward=before_forward,
        fields=["X-Cart-Size"],
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=desk) as client:
            app.state.desk = client
            yield

    own = APIRouter(prefix="/shop/own", dependencies=[Depends(bff.require_session)])

    @own.post("/cart/{item}")
    async def add(item: str, user: Annotated[User, Depends(bff.require_session)]) -> list[str]:
        cart = carts.setdefault(user.sub, [])
        cart.append(item)
        return cart

    @own.get("/desk")
    async def ask_the_desk(request: Request) -> dict[str, int]:
        bearer = f"Bearer {await bff.token_for(request)}"
        answer = await request.app.state.desk.get("/desk", headers={"Authorization": bearer})
        return {"status": answer.status_code}

    app = FastAPI(lifespan=lifespan)
    app.include_router(own)
    bff.install(app)
    return app
