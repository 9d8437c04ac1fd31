"""Logout tokens, checked with the provider's keys as they are."""

from collections.abc import Callable, Sequence

from bff.errors import ProviderUnavailableError
from bff.oidc.client import OidcClient
from bff.oidc.document_cache import PAUSE
from bff.oidc.logout_token import LogoutTokenRejectedError, ProviderLogout, validate_logout_token
from bff.oidc.metadata import SigningKey


class LogoutTokens:
    """Reads the logout tokens of one provider. `clock` gives seconds since the epoch."""

    def __init__(self, client: OidcClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock

    async def read(self, token: str) -> ProviderLogout:
        """Checks a logout token (L-04); a key that is not known is looked for at the provider, once.

        Raises:
            LogoutTokenRejectedError: it is not to be believed.
            ProviderUnavailableError: the keys have never been had, or the token's key is not among them, and
                they could not be fetched again just now.
        """
        arrived = self._clock()
        try:
            return self._validated(token, await self._client.keys())
        except LogoutTokenRejectedError as rejected:
            if not rejected.key_may_be_new:
                raise
        try:
            return self._validated(token, await self._client.newer_keys())
        except LogoutTokenRejectedError as again:
            if again.key_may_be_new and not self._client.documents.keys_asked_since(arrived):
                # The cooldown, or an outage: a 400 would be the last word on a token that may be good.
                raise ProviderUnavailableError("the key set is older than the logout token", PAUSE) from None
            raise

    def _validated(self, token: str, keys: Sequence[SigningKey]) -> ProviderLogout:
        settings = self._client.settings
        return validate_logout_token(
            token,
            keys,
            issuer=settings.issuer,
            client_id=settings.client_id,
            algs=settings.id_token_algs,
            clock_skew=settings.clock_skew,
            now=self._clock(),
            exp_required=settings.logout_exp == "required",
        )
