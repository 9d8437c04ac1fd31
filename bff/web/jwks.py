"""GET /bff/jwks: the public keys of minted tokens (RFC 7517), for backends.

Nothing here is a secret: anybody may keep the answer for a minute.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bff.session.minted_tokens import LEAD, MintingKeys

JWKS = "/bff/jwks"


class JwksEndpoint:
    """The endpoint; there is none where no route has tokens minted."""

    def __init__(self, keys: MintingKeys, *, needed: bool) -> None:
        self._keys = keys
        self._needed = needed

    def routes(self) -> list[Route]:
        """Returns the route of the endpoint."""
        return [Route(JWKS, self.keys, methods=["GET"])] if self._needed else []

    async def keys(self, _: Request) -> Response:
        """The keys."""
        headers = {"cache-control": f"public, max-age={int(LEAD)}", "x-content-type-options": "nosniff"}
        return JSONResponse(self._keys.published(), headers=headers, media_type="application/jwk-set+json")
