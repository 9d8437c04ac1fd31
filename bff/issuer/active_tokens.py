"""The check of our own access tokens: signature and time, revocation, account."""

from collections.abc import Collection, Mapping
from typing import Any

from bff.issuer.accounts.accounts import Accounts
from bff.issuer.grants.tokens import Minter
from bff.issuer.store.store import Store


class ActiveTokens:
    """Checks access tokens that the issuer's own endpoints get; calls block.

    `clients` are the subjects of the clients that may have tokens in their own name.
    """

    def __init__(
        self, minter: Minter, store: Store, accounts: Accounts, clients: Collection[str] = ()
    ) -> None:
        self._minter, self._store, self._accounts = minter, store, accounts
        self._clients = clients

    def find(self, token: str, now: int) -> Mapping[str, Any] | None:
        """Returns the claims of a token that is good now, else None."""
        claims = self._minter.read_access_token(token, now)
        if claims is None or self._store.revoked_tokens.covers(claims["jti"], claims.get("sid")):
            return None
        sub = claims["sub"]
        return claims if sub in self._clients or self._accounts.find(sub) else None


def audiences_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The `aud` of a token, which may be one or several (RFC 7519 4.1.3)."""
    audience = claims.get("aud", ())
    return (audience,) if isinstance(audience, str) else tuple(audience)
