"""Introspection (RFC 7662), with a permission for each client.

Rule: a client may ask about its own tokens, and about access tokens for the audiences that its settings name;
all other tokens are "not active" to it, as tokens that do not exist.
"""

import time
from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from bff.issuer.active_tokens import audiences_of
from bff.issuer.endpoints.token_parameter import TokenParameter
from bff.issuer.grants.clients import AUTH_METHODS, Client
from bff.issuer.grants.engine import ProtocolServer
from bff.issuer.store.refresh_families import RefreshToken

_TOLD = (
    "iss", "aud", "sub", "exp", "iat", "jti", "sid", "client_id", "scope", "role", "tid",
    "cnf", "acr", "auth_time",
)  # fmt: skip


class Introspection(TokenParameter, IntrospectionEndpoint):  # type: ignore[misc] # authlib publishes no types
    """Token introspection (RFC 7662): a token's state and claims."""

    CLIENT_AUTH_METHODS = AUTH_METHODS
    server: ProtocolServer

    def query_token(self, token_string: str, token_type_hint: str | None) -> "Mapping[str, Any] | None":
        """Finds a good access or refresh token; its form shows its kind, so no hint is needed."""
        del token_type_hint
        claims = self.server.active.find(token_string, int(time.time()))
        return (
            {**claims, "token_type": "DPoP" if "cnf" in claims else "Bearer"}
            if claims
            else self._refresh_token(token_string)
        )

    def check_permission(self, token: Mapping[str, Any], client: Client, request: Any) -> bool:
        """Returns True for the client's own token, or one for an audience that it introspects."""
        del request
        own = token["client_id"] == client.client_id
        return own or any(name in client.introspects for name in audiences_of(token))

    def create_introspection_payload(self, token: "Mapping[str, Any] | None") -> dict[str, Any]:
        """The answer (RFC 7662 2.2)."""
        if token is None:
            return {"active": False}
        return {"active": True, **{name: token[name] for name in (*_TOLD, "token_type") if name in token}}

    def _refresh_token(self, text: str) -> dict[str, Any] | None:
        token, server = RefreshToken.parse(text), self.server
        found = server.store.refresh_families.find(token, time.time()) if token else None
        if found is None or not found.current or server.accounts.find(found.family.sub) is None:
            return None
        family = found.family
        return {
            "iss": server.settings.url,
            "sub": family.sub,
            "sid": family.sid,
            "client_id": family.client_id,
            "scope": family.scope,
            "exp": int(family.ends),
        }
