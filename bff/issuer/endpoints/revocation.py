"""Revocation (RFC 7009).

Rule 1: a refresh token ends its whole family, a used one too: a client that lost the last answer can
still end its tokens. The access tokens of the family end with it.
Rule 2: an access token goes to the list of revoked ones, until it would have ended, and with it those that it
was exchanged for.
"""

import time
from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc7009 import RevocationEndpoint

from bff.issuer.endpoints.token_parameter import TokenParameter
from bff.issuer.grants.clients import AUTH_METHODS, Client
from bff.issuer.grants.engine import ProtocolServer
from bff.issuer.grants.refresh import PresentedRefreshToken
from bff.issuer.store.refresh_families import RefreshToken
from bff.observe.logs import audit


class PresentedAccessToken:
    """An access token, in the shape that authlib's check asks for."""

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self.claims = claims

    def check_client(self, client: Client) -> bool:
        """Return True if the token was issued to this client."""
        return bool(self.claims["client_id"] == client.client_id)


class Revocation(TokenParameter, RevocationEndpoint):  # type: ignore[misc] # authlib publishes no types
    """Ends tokens that a client no longer wants; the answer for unknown ones is the same (RFC 7009 2.2)."""

    CLIENT_AUTH_METHODS = AUTH_METHODS
    server: ProtocolServer

    def query_token(
        self, token_string: str, token_type_hint: str | None
    ) -> PresentedRefreshToken | PresentedAccessToken | None:
        """Finds the token; its form shows its kind, so no hint is needed."""
        del token_type_hint
        now = time.time()
        token = RefreshToken.parse(token_string)
        if token and (found := self.server.store.refresh_families.find(token, now)):
            return PresentedRefreshToken(token, found.family)
        claims = self.server.minter.read_access_token(token_string, int(now))
        return PresentedAccessToken(claims) if claims else None

    def revoke_token(self, token: PresentedRefreshToken | PresentedAccessToken, request: Any) -> None:
        """Ends it."""
        del request
        store, now = self.server.store, time.time()
        if isinstance(token, PresentedAccessToken):
            claims = token.claims
            store.revoked_tokens.revoke(claims["jti"], "revoked", claims["exp"], now)
            store.issued.end(claims["jti"], "revoked", now)
            return
        store.refresh_families.end(token.token.family)
        store.issued.end(token.token.family, "revoked", now)
        family = token.family
        audit("tokens_revoked", sub=family.sub, reason="client", sid=family.sid, client_id=family.client_id)
