"""Logout tokens, checked with the provider's keys as they are."""

from collections.abc import Callable, Sequence

from bff.oidc.client import OidcClient
from bff.oidc.event_reader import EventReader
from bff.oidc.logout_token import ProviderLogout, validate_logout_token
from bff.oidc.metadata import SigningKey


def logout_tokens(client: OidcClient, clock: Callable[[], float]) -> EventReader[ProviderLogout]:
    """Returns a reader of the logout tokens of one provider (L-04)."""

    def validate(token: str, keys: Sequence[SigningKey], now: float) -> ProviderLogout:
        settings = client.settings
        return validate_logout_token(
            token,
            keys,
            issuer=settings.issuer,
            client_id=settings.client_id,
            algs=settings.id_token_algs,
            clock_skew=settings.clock_skew,
            now=now,
            exp_required=settings.logout_exp == "required",
        )

    return EventReader(client.documents, validate, clock)
