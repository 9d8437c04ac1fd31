"""The sources that tell of bearer tokens which ended before their time, as a route's settings name them.

Rule 1: without an answer there is no verdict: the verifier refuses the call (503), and no token is believed.
Rule 2: an answer is believed for `bearer_fresh`, by the name of the token (`jti`); by default not at all.
"""

import time
from collections.abc import Sequence

from bff.oidc.client import OidcClient
from bff.settings.model import RouteSettings
from bff.verify import Claims, RedisRevocations, Revocations
from bff.verify.revocation import Remembered

_REMEMBERED = 10_000  # answers of one source


class ProviderAnswers:
    """The provider itself, asked by its introspection endpoint (RFC 7662) as the client that we are."""

    def __init__(self, client: OidcClient, fresh: float) -> None:
        self._client = client
        self._good = Remembered(fresh, _REMEMBERED)

    async def is_revoked(self, token: str, claims: Claims) -> bool:
        """Returns True for a token that is not active; raises ProviderUnavailableError without an answer."""
        if self._good.holds(claims.jti):
            return False
        asked = time.monotonic()
        active = await self._client.is_active(token)
        if active:
            self._good.add(claims.jti, asked)
        return not active

    async def close(self) -> None:
        """Nothing to close: the connections are the provider's."""


def revocations_of(route: RouteSettings, client: OidcClient) -> Sequence[Revocations]:
    """Returns the sources that a route asks; `client` is at the provider whose tokens it takes."""
    found: list[Revocations] = []
    if route.bearer_revocations is not None:
        found.append(
            RedisRevocations(
                route.bearer_revocations.get_secret_value(),
                prefix=route.bearer_revocations_prefix,
                fresh=route.bearer_fresh,
            )
        )
    if route.bearer_introspection:
        found.append(ProviderAnswers(client, route.bearer_fresh))
    return found


def rule_of(route: RouteSettings) -> tuple[str, str, bool, float]:
    """Returns the part of a route's settings by which it can share the sources of another one."""
    url = route.bearer_revocations
    return (
        "" if url is None else url.get_secret_value(),
        route.bearer_revocations_prefix,
        route.bearer_introspection,
        route.bearer_fresh,
    )
