"""The servers that `bff check` looks at, of all frontends, each once. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bff.policy.routes import Upstream, compile_route
from bff.settings.frontends import UNNAMED, Frontend, frontends_of
from bff.settings.model import DevelopmentPage, ProviderSettings, RouteSettings, Settings
from bff.upstream.connector import TlsNames
from bff.web.callback_page import has_own_callback, redirect_uri

_SHARED: Final = ""


@dataclass(frozen=True, slots=True)
class BackendLook:
    """A backend to be looked at, by the settings of a route that leads there.

    Attributes:
        is_page: the route is that of a development server's page.
        frontend: the names of the frontends that it belongs to; "" for all.
    """

    upstream: Upstream
    route: RouteSettings
    is_page: bool
    frontend: str


@dataclass(frozen=True, slots=True)
class ClientLook:
    """A redirect URI that a provider is asked about, and the name of its frontend; "" for the only one."""

    redirect_uri: str
    frontend: str


@dataclass(frozen=True, slots=True)
class ProviderLook:
    """A provider to be looked at, the routes of its frontends, and the redirect URIs that it has to know."""

    provider: ProviderSettings
    routes: Sequence[RouteSettings]
    clients: Sequence[ClientLook]


def backend_looks(settings: Settings) -> list[BackendLook]:
    """Returns the backends of all routes, and the development servers of all pages."""
    views = frontends_of(settings)
    found: dict[tuple[Upstream, TlsNames, bool], list[tuple[str, RouteSettings]]] = {}
    for view in views:
        for route in view.settings.served_routes():
            is_page = isinstance(route, DevelopmentPage)
            key = compile_route(route).upstream, TlsNames.of(route), is_page
            found.setdefault(key, []).append((view.name or UNNAMED, route))
    looks = []
    for (upstream, _, is_page), routes in found.items():
        names = dict.fromkeys(name for name, _ in routes)
        frontend = _SHARED if len(names) == len(views) else ", ".join(names)
        looks.append(BackendLook(upstream, routes[0][1], is_page, frontend))
    return looks


def provider_looks(settings: Settings) -> list[ProviderLook]:
    """Returns all providers, those too that no frontend uses."""
    views = frontends_of(settings)
    looks = []
    for provider in settings.providers():
        users = [view for view in views if provider in view.settings.providers()]
        routes = {
            id(route): _as_seen(route, provider, view) for view in users for route in view.settings.route
        }
        clients = [_client(view, provider, named=len(views) > 1) for view in users]
        looks.append(ProviderLook(provider, list(routes.values()), clients))
    return looks


def _as_seen(route: RouteSettings, provider: ProviderSettings, view: Frontend) -> RouteSettings:
    """A route as a provider sees it: a token in the proxy's own name is asked of one of them alone."""
    giver = route.token_provider or view.settings.provider.name
    if route.token_kind() != "client" or giver == provider.name:
        return route
    return route.model_copy(update={"token": "none"})


def _client(view: Frontend, provider: ProviderSettings, *, named: bool) -> ClientLook:
    several = len(view.settings.providers()) > 1
    own = has_own_callback(provider, several=several)
    uri = redirect_uri(view.settings.server, provider, own=own)
    return ClientLook(uri, (view.name or UNNAMED) if named else _SHARED)
