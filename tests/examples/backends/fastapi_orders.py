"""A FastAPI backend: `uvicorn fastapi_orders:app`, with ISSUER and AUDIENCE in the environment."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from bff_verify import Claims, TokenVerifier
from bff_verify.fastapi import Bearer
from fastapi import Depends, FastAPI

verifier = TokenVerifier(
    issuer=os.environ["ISSUER"], audience=os.environ["AUDIENCE"], ca_file=os.environ.get("CA_FILE")
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Closes the verifier's connections at the end."""
    yield
    await verifier.close()


app = FastAPI(lifespan=lifespan)


@app.get("/orders")
async def orders(claims: Annotated[Claims, Depends(Bearer(verifier))]) -> dict[str, str]:
    return {"user": claims.sub}


@app.get("/reports")
async def reports(claims: Annotated[Claims, Depends(Bearer(verifier, scope={"reports"}))]) -> dict[str, str]:
    return {"user": claims.sub}
