"""The check of our own access tokens: signature and time, revocation, account."""

from collections.abc import Mapping
from typing import Any

from bff.issuer.accounts.accounts import Accounts
from bff.issuer.grants.tokens import Minter
from bff.issuer.store.store import Store


class ActiveTokens:
    """Checks access tokens where the issuer itself is asked with one; calls block."""

    def __init__(self, minter: Minter, store: Store, accounts: Accounts) -> None:
        self._minter, self._store, self._accounts = minter, store, accounts

    def find(self, token: str, now: int) -> Mapping[str, Any] | None:
        """Returns the claims of a token that is good now, else None."""
        claims = self._minter.read_access_token(token, now)
        if claims is None or self._store.revoked_tokens.covers(claims["jti"], claims["sid"]):
            return None
        return claims if self._accounts.find(claims["sub"]) else None


def audiences_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The `aud` of a token, which may be one or several (RFC 7519 4.1.3)."""
    audience = claims.get("aud", ())
    return (audience,) if isinstance(audience, str) else tuple(audience)
