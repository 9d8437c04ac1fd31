"""A Starlette backend: `uvicorn starlette_orders:app`, with ISSUER and AUDIENCE in the environment."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bff_verify import BearerAuth, TokenVerifier
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

verifier = TokenVerifier(
    issuer=os.environ["ISSUER"], audience=os.environ["AUDIENCE"], ca_file=os.environ.get("CA_FILE")
)


async def user(request: Request) -> JSONResponse:
    return JSONResponse({"user": request.scope["claims"].sub})


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Closes the verifier's connections at the end."""
    yield
    await verifier.close()


app = Starlette(
    routes=[
        Mount(
            "/reports",
            routes=[Route("/", user)],
            middleware=[Middleware(BearerAuth, verifier=verifier, scope={"reports"})],
        ),
        Mount("/", routes=[Route("/orders", user)], middleware=[Middleware(BearerAuth, verifier=verifier)]),
    ],
    lifespan=lifespan,
)
