"""The refresh grant (RFC 6749 6): a new token with each use.

Rule: a refresh token that is used twice ends the sign-in that it came from (RFC 9700 4.14.2).

All clients here authenticate: refresh tokens are bound to them by that, and not to a key (RFC 9449 5). The
access token is bound to the key that the refresh proves.
"""

import time
from typing import Any, assert_never

from authlib.oauth2.rfc6749 import InvalidGrantError, grants

from bff.issuer.accounts.accounts import Account
from bff.issuer.grants.audiences import choose, read_resources
from bff.issuer.grants.clients import AUTH_METHODS, Client
from bff.issuer.grants.engine import ProtocolServer
from bff.issuer.grants.proofs import ProvesKey
from bff.issuer.grants.tokens import Grant, token_answer
from bff.issuer.store.refresh_families import Family, Gone, RefreshToken, Reused, Rotated
from bff.observe.logs import audit


class PresentedRefreshToken:
    """A refresh token with its family, in the shape that authlib's checks ask for."""

    def __init__(self, token: RefreshToken, family: Family) -> None:
        self.token = token
        self.family = family

    def check_client(self, client: Client) -> bool:
        """Return True if the token was issued to this client."""
        return bool(self.family.client_id == client.client_id)

    def get_scope(self) -> str:
        """The granted scope."""
        return self.family.scope


class RefreshGrant(ProvesKey, grants.RefreshTokenGrant):  # type: ignore[misc] # authlib publishes no types
    """Rotation: each use gives a new refresh token; a second use of one ends the family."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: ProtocolServer

    def authenticate_refresh_token(self, refresh_token: str) -> PresentedRefreshToken | None:
        """Finds the family; a used token of this client ends it here already."""
        token = RefreshToken.parse(refresh_token)
        found = self.server.store.refresh_families.find(token, time.time()) if token else None
        if token is None or found is None:
            return None
        if not found.usable and found.family.client_id == self.request.client.client_id:
            self._end_reused(token, found.family)
            return None
        return PresentedRefreshToken(token, found.family)

    def authenticate_user(self, refresh_token: PresentedRefreshToken) -> Account:
        """The account of the family; a missing one is `invalid_grant`, and ends the family."""
        account = self.server.accounts.find(refresh_token.family.sub)
        if account is None:
            self.server.store.refresh_families.end(refresh_token.token.family)
            raise InvalidGrantError
        return account

    def issue_token(self, user: Account, refresh_token: PresentedRefreshToken) -> dict[str, Any]:
        """Takes the old token and installs the new one in one step, and only then issues."""
        audiences = self._audiences(refresh_token.family)
        family, grace = refresh_token.family, self.server.settings.refresh_grace
        store, now = self.server.store, time.time()
        jti = store.issued.name(refresh_token.token.family, self.server.minter.access_token_lifetime, now)
        match store.refresh_families.rotate(refresh_token.token, now, grace):
            case Rotated(successor):
                scope = " ".join((self.request.payload.scope or family.scope).split())
                grant = Grant(
                    user, family.client_id, scope, family.sid, family.auth_time, "", audiences, jti, self.jkt
                )
                return token_answer(self.server.minter, grant, successor, family.ends, int(now))
            case Reused():
                self._end_reused(refresh_token.token, family)
                raise InvalidGrantError
            case Gone():
                raise InvalidGrantError
            case other:
                assert_never(other)

    def revoke_old_credential(self, refresh_token: Any) -> None:
        """Does nothing: the old token is gone."""

    def _audiences(self, family: Family) -> tuple[str, ...]:
        wanted = read_resources(self.request.form.get("resource"))
        return choose(wanted, family.resources, self.server.allowed_audiences(self.request.client))

    def _end_reused(self, token: RefreshToken, family: Family) -> None:
        """Ends the family first: that takes one step, and the rest of the sign-in several."""
        self.server.store.refresh_families.end(token.family)
        audit(
            "token_reused", sub=family.sub, reason="refresh_token", sid=family.sid, client_id=family.client_id
        )
        self.server.termination.end_sign_in(family.sid, "refresh_token_reused", client_id=family.client_id)
