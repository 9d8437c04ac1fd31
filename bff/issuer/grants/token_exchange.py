"""Token exchange (RFC 8693): an access token for one service, from one that the client has.

Rule 1: only from an access token that was issued to the client that asks, and is good now.
Rule 2: only for a service that the client's settings name.
Rule 3: never more scope and never a longer life than the token has; the same `sub` and `sid`.
Rule 4: from a token that is bound to a key, for a proof by that key only: what comes of it is bound as well.
Rule 5: no refresh token: a client that needs another access token exchanges again.
"""

import time
from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin

from bff.issuer.accounts.accounts import Account
from bff.issuer.grants.audiences import InvalidTargetError, read_targets, scope_within
from bff.issuer.grants.clients import AUTH_METHODS, TOKEN_EXCHANGE, Client
from bff.issuer.grants.engine import ProtocolServer
from bff.issuer.grants.proofs import InvalidProofError, ProvesKey
from bff.issuer.grants.tokens import Grant, token_type

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - RFC 8693 section 3
_MAX_TOKEN = 16 * 1024


class ExchangeGrant(ProvesKey, BaseGrant, TokenEndpointMixin):  # type: ignore[misc] # authlib publishes no types
    """The grant; authlib has none."""

    GRANT_TYPE = TOKEN_EXCHANGE
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: ProtocolServer

    def validate_token_request(self) -> None:
        """Checks the client, its token, and the wanted audience and scope (RFC 8693 2.1)."""
        client = self.authenticate_token_endpoint_client()
        self.request.client = client
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError("The client may not exchange tokens.")
        self._subject = self._read_subject(client)
        self._audiences = self._read_targets(client)
        self._scope = scope_within(self.request.form, str(self._subject["scope"]).split())

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        """Issues the token (RFC 8693 2.2.1)."""
        now, claims = int(time.time()), self._subject
        account = self.server.accounts.find(claims["sub"])
        if account is None:
            raise _unusable()
        return 200, self._issue(account, claims, now), self.TOKEN_RESPONSE_HEADER

    def _issue(self, account: Account, claims: Mapping[str, Any], now: int) -> dict[str, Any]:
        client_id, sid = self.request.client.client_id, claims["sid"]
        minter, store = self.server.minter, self.server.store
        lifetime = min(minter.access_token_lifetime, int(claims["exp"]) - now)
        jti = store.issued.name(claims["jti"], lifetime, now) if lifetime > 0 else ""
        # A revocation a moment ago may have come too early to find this token.
        if not jti or store.revoked_tokens.covers(claims["jti"], sid):
            raise _unusable()
        grant = Grant(
            account,
            client_id,
            self._scope,
            sid,
            int(claims.get("auth_time", 0)),
            audiences=self._audiences,
            jti=jti,
            jkt=self.jkt,
        )
        return {
            "access_token": minter.access_token(grant, now, lifetime),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": token_type(self.jkt),
            "expires_in": lifetime,
            "scope": self._scope,
        }

    def _read_subject(self, client: Client) -> Mapping[str, Any]:
        form = self.request.form
        if form.get("subject_token_type") != ACCESS_TOKEN:
            raise InvalidRequestError("The subject_token_type must be that of an access token.")
        if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
            raise InvalidRequestError("Only access tokens are issued here.")
        if "actor_token" in form or "actor_token_type" in form:
            raise InvalidRequestError("Delegation by actor_token is not supported.")
        text = form.get("subject_token", "")
        claims = self.server.active.find(text, int(time.time())) if 0 < len(text) <= _MAX_TOKEN else None
        if claims is None or claims["client_id"] != client.client_id:
            raise _unusable()
        if claims.get("cnf", {}).get("jkt") not in (None, self.jkt):
            raise InvalidProofError("The subject_token is bound to another key than the one that is proved.")
        return claims

    def _read_targets(self, client: Client) -> tuple[str, ...]:
        targets = read_targets(self.request.form)
        if not targets:
            raise InvalidRequestError("Name an audience or a resource.")
        if not set(targets) <= set(client.audiences):
            raise InvalidTargetError
        return targets


def _unusable() -> InvalidRequestError:
    """RFC 8693 2.2.2: a bad subject token is an invalid request. The answer does not give the reason."""
    return InvalidRequestError("The subject_token is not one that this client can exchange.")
