"""The client credentials grant (RFC 6749 4.4): an access token in a client's own name.

Rule 1: only for a client whose settings say so, with the scopes that they name for it.
Rule 2: only for the services that the client may have tokens for.
Rule 3: its `sub` is no account's: it holds a character that no account's may (RFC 9068 5).
Rule 4: no refresh token and no ID token: there is no user.
"""

import time
from typing import Any

from authlib.oauth2.rfc6749 import UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin

from bff.issuer.grants.audiences import choose, read_targets, scope_within
from bff.issuer.grants.clients import AUTH_METHODS, CLIENT_CREDENTIALS, Client
from bff.issuer.grants.engine import ProtocolServer
from bff.issuer.grants.proofs import ProvesKey
from bff.issuer.grants.tokens import token_type


class ClientCredentialsGrant(ProvesKey, BaseGrant, TokenEndpointMixin):  # type: ignore[misc] # authlib publishes no types
    """The grant; authlib's own knows neither audiences nor scopes of a client."""

    GRANT_TYPE = CLIENT_CREDENTIALS
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: ProtocolServer

    def validate_token_request(self) -> None:
        """Checks the client and its wishes (RFC 6749 4.4.2)."""
        client = self.authenticate_token_endpoint_client()
        self.request.client = client
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError("The client may not have tokens in its own name.")
        self._audiences = self._read_targets(client)
        self._scope = scope_within(self.request.form, client.own_scopes)

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        """Issues the token (RFC 6749 4.4.3)."""
        minter = self.server.minter
        token = minter.client_token(
            self.request.client.client_id, self._scope, self._audiences, int(time.time()), self.jkt
        )
        answer = {
            "access_token": token,
            "token_type": token_type(self.jkt),
            "expires_in": minter.access_token_lifetime,
            "scope": self._scope,
        }
        return 200, answer, self.TOKEN_RESPONSE_HEADER

    def _read_targets(self, client: Client) -> tuple[str, ...]:
        return choose(read_targets(self.request.form), (), self.server.allowed_audiences(client))
