"""FastAPI: the claims of the request's access token by `Depends`, and the scheme in the OpenAPI document.

bearer = Bearer(verifier)
orders = Bearer(verifier, scope={"orders:write"})

@app.get("/orders")
async def read(claims: Annotated[Claims, Depends(bearer)]) -> …:

A newer `DPoP-Nonce` is put into the answer that FastAPI makes; an endpoint that returns a `Response` of its
own takes it from `claims.dpop_nonce`.
"""

from collections.abc import Collection

from fastapi import HTTPException, Request, Response
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from .claims import Claims, TokenRefusedError
from .request_parts import RequestParts
from .verifier import TokenVerifier


class Bearer(SecurityBase):
    """A dependency: the claims of a good token; a bad one is answered as RFC 6750 says.

    Args:
        verifier: checks the token.
        scope: the scope that the token needs.
    """

    def __init__(self, verifier: TokenVerifier, scope: Collection[str] = ()) -> None:
        self._verifier, self._scope = verifier, frozenset(scope)
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "Bearer"

    async def __call__(self, request: Request, response: Response) -> Claims:
        """Returns the claims, or raises an HTTPException with status, header fields and reason."""
        try:
            claims = await self._verifier.verify_request(RequestParts.of_scope(request.scope), self._scope)
        except TokenRefusedError as error:
            raise HTTPException(error.status, detail=error.body, headers=error.headers) from None
        if claims.dpop_nonce is not None:
            response.headers["DPoP-Nonce"] = claims.dpop_nonce
        return claims
