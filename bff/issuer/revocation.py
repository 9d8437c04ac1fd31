"""Revocation (RFC 7009)."""

import time
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint

from bff.issuer.clients import Client
from bff.issuer.families import RefreshToken
from bff.issuer.protocol import SECRET_METHODS, ProtocolServer
from bff.issuer.refresh_grant import PresentedRefreshToken


class Revocation(RevocationEndpoint):  # type: ignore[misc] # authlib publishes no types
    """RFC 7009: a refresh token ends its whole family. Access tokens end by themselves, within minutes."""

    CLIENT_AUTH_METHODS = SECRET_METHODS
    server: ProtocolServer

    def check_params(self, request: Any, client: Client) -> None:
        """Asks for a token only; an unknown hint is no reason to refuse (RFC 7009 2.1)."""
        del client
        if not request.form.get("token"):
            raise InvalidRequestError("Missing 'token' in request.")

    def query_token(self, token_string: str, token_type_hint: str | None) -> PresentedRefreshToken | None:
        """Finds the family of a refresh token, a used one too; unknown tokens are as good as revoked."""
        del token_type_hint
        token = RefreshToken.parse(token_string)
        found = self.server.store.families.find(token, time.time()) if token else None
        return PresentedRefreshToken(token, found.family) if token and found else None

    def revoke_token(self, token: PresentedRefreshToken, request: Any) -> None:
        """Ends the family."""
        del request
        self.server.store.families.end(token.token.family)
