"""The credentials of each route, as its settings ask for them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from bff.credentials.client_credentials import ClientCredentials
from bff.credentials.credential import Unsigned
from bff.credentials.exchanged_credentials import ExchangedCredentials
from bff.credentials.judged_credentials import (
    JudgedClientCredentials,
    JudgedCredentials,
    JudgedExchangedCredentials,
    JudgedMintedCredentials,
)
from bff.credentials.minted_credentials import MintedCredentials
from bff.credentials.session_credentials import Credentials
from bff.credentials.shared_token_exchange import Exchanger
from bff.policy.route_access import AccessPlan, RouteAccess
from bff.policy.routes import Route
from bff.refresh.client_tokens import ClientTokens
from bff.session.minted_claims import Content
from bff.session.minted_tokens import Mint
from bff.settings.model import RouteSettings


@dataclass(frozen=True, slots=True)
class TokenSources:
    """The sources of all tokens that are no session's own; `lifetime` is in seconds."""

    exchanger: Exchanger
    client_tokens: Mapping[str, ClientTokens]  # by the provider's name, the default one first
    mint: Mint
    issuer: str
    client_ids: tuple[tuple[str, str], ...]
    lifetime: float

    def content(self, route: RouteSettings) -> Content:
        """Returns the content of a route's minted tokens."""
        assert route.audience is not None  # the settings' check sees to it
        bound = route.sends_proofs(by_default=False)
        return Content(self.issuer, route.audience, self.client_ids, route.claims, self.lifetime, bound)


def by_audience(
    others: Collection[str], routes: Iterable[RouteSettings], exchanger: Exchanger, **common: Any
) -> dict[str | None, Credentials]:
    """Returns the credentials for each audience of the routes and of `others`; the session's under None."""
    made: dict[str | None, Credentials] = {None: Credentials(**common)}
    exchanged = (route.audience for route in routes if route.token_kind() == "exchange")
    for audience in {*others, *filter(None, exchanged)}:
        made[audience] = ExchangedCredentials(audience, exchanger, **common)
    return made


def for_routes(
    routes: Iterable[Route],
    plan: AccessPlan,
    shared: Mapping[str | None, Credentials],
    sources: TokenSources,
    **common: Any,
) -> dict[bytes, Credentials]:
    """Returns the credentials of each route by its path: those `shared` by audience where it has no rule."""
    return {
        route.path: _made(route, plan.by_path.get(route.path), shared, sources, **common) for route in routes
    }


def _made(
    route: Route,
    access: RouteAccess | None,
    shared: Mapping[str | None, Credentials],
    sources: TokenSources,
    **common: Any,
) -> Credentials:
    settings = route.settings
    kind, audience = settings.token_kind(), settings.audience
    made: dict[str, Any]
    judged: type[JudgedCredentials]
    match kind:
        case "session" | "none":
            plain, judged, made = shared[None], JudgedCredentials, {}
        case "exchange":
            plain, judged = shared[audience], JudgedExchangedCredentials
            made = {"audience": audience, "exchanger": sources.exchanger}
        case "client":
            giver = settings.token_provider or next(iter(sources.client_tokens))
            tokens = sources.client_tokens[giver]
            made = {"client_token": tokens.of(settings.scopes, settings.resource, audience)}
            plain, judged = ClientCredentials(**made, **common), JudgedClientCredentials
        case "minted":
            made = {"mint": sources.mint, "content": sources.content(settings)}
            plain, judged = MintedCredentials(**made, **common), JudgedMintedCredentials
        case other:
            assert_never(other)
    return plain if access is None else judged(access=access, **made, **common)


def unsigned_of(route: Route, credentials: Credentials) -> Unsigned | None:
    """Returns the source of a token for a route's calls without a session; None where these carry none."""
    needed = route.settings.requires_session()
    return credentials if isinstance(credentials, ClientCredentials) and not needed else None
