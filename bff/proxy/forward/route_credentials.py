"""The credentials of each route, as its settings ask for them."""

from collections.abc import Iterable, Mapping
from typing import Any

from bff.policy.route_access import AccessPlan, RouteAccess
from bff.policy.routes import Route
from bff.proxy.forward.credentials import Credentials
from bff.proxy.forward.judged_credentials import JudgedAudienceCredentials, JudgedCredentials
from bff.proxy.forward.token_exchange import TokenExchanger


def for_routes(
    routes: Iterable[Route],
    plan: AccessPlan,
    shared: Mapping[str | None, Credentials],
    exchanger: TokenExchanger,
    **common: Any,
) -> dict[bytes, Credentials]:
    """Returns the credentials of each route by its path: those `shared` by audience where it has no rule."""

    def made(route: Route, access: RouteAccess | None) -> Credentials:
        settings = route.settings
        audience = settings.audience if settings.token_kind() == "exchange" else None
        if access is None:
            return shared[audience]
        if audience is None:
            return JudgedCredentials(access, **common)
        return JudgedAudienceCredentials(access, audience=audience, exchanger=exchanger, **common)

    return {route.path: made(route, plan.by_path.get(route.path)) for route in routes}
