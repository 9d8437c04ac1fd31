"""The rules of one frontend, compiled from its settings."""

from collections.abc import Mapping

from bff.policy.csrf import Guard
from bff.policy.intern_pool import InternPool
from bff.policy.public_origin import PublicOrigin
from bff.policy.route_access import AccessPlan
from bff.policy.routes import RouteTable, Upstream
from bff.settings.frontends import beside
from bff.settings.model import Settings

Told = Mapping[Upstream, frozenset[str]]
"""The names of the fields that the routes to each backend make of claims, of all frontends."""


class FrontendRules:
    """The rules of a frontend, compiled: no I/O, and nothing that changes."""

    def __init__(self, settings: Settings, name: str, pool: InternPool[RouteTable], told: Told) -> None:
        self.settings, self.name, self.told = settings, name, told
        self.public = PublicOrigin.parse(settings.server.public_url)
        self.csrf_header = settings.session.csrf_header.lower().encode("ascii")
        self.guard = Guard(self.public.origin, self.csrf_header, settings.session.csrf_header)
        longest, own_path = settings.server.max_path_bytes, settings.server.own_path().encode("ascii")
        taken = beside(settings.server)
        self.own_routes = RouteTable.from_settings(
            settings.public_routes(), longest, own_path, taken, pool=pool
        )
        self.routes = RouteTable.from_settings(settings.served_routes(), longest, own_path, pool=pool)
        self.plan = AccessPlan((route.path, route.settings) for route in self.routes.routes)
