"""All frontends of a process: built from settings, and replaced, as one value.

Rule 1: a frontend whose settings stay as they are stays itself, with all that it has warm.
Rule 2: building changes nothing that a request meets (`bff.frontend_builder`).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from bff.frontend import Frontend
from bff.frontend_builder import build_frontend
from bff.frontend_rules import Told
from bff.policy.frontend_table import FrontendTable, Placed, hosts_of
from bff.policy.header_rules import HeaderRules
from bff.policy.public_origin import PublicOrigin
from bff.policy.request_limits import RequestLimits
from bff.policy.route_access import told_fields
from bff.policy.routes import compile_route
from bff.proxy.forward.asgi_app import ForwardingApp
from bff.proxy.server.header_line_cache import LineCache
from bff.session.near_cache import NearCache
from bff.settings.changes import compare
from bff.settings.frontends import Frontend as View
from bff.settings.frontends import all_routes, beside, frontends_of
from bff.settings.model import RouteSettings, Settings
from bff.shared_parts import SharedParts
from bff.upstream.pool import UpstreamPool


@dataclass(frozen=True, slots=True, eq=False)
class Frontends:
    """The frontends of some settings; the first one stands for all where none is named.

    Attributes:
        lines: the header lines of the fast path.
        table: finds the frontend of a request; None for one, which nothing is looked up for.
        cache: the memory that several share; a single one has its own.
        told: the fields that routes to each backend make of claims.
    """

    every: tuple[Frontend, ...]
    lines: LineCache
    table: FrontendTable[ForwardingApp] | None
    cache: NearCache | None
    told: Told

    @property
    def first(self) -> Frontend:
        """The first one."""
        return self.every[0]

    def pools(self) -> set[UpstreamPool]:
        """Returns the pools of all routes."""
        return set().union(*(each.pools() for each in self.every))

    def memories(self) -> set[NearCache]:
        """Returns the near caches, which the feed is to tell."""
        return {each for each in (self.cache, *(one.memory for one in self.every)) if each is not None}

    def without(self, others: "Frontends") -> list[Frontend]:
        """Returns those of these that are not among the others."""
        return [each for each in self.every if each not in others.every]


def build_frontends(settings: Settings, shared: SharedParts) -> Frontends:
    """Builds the frontends of some settings, which have been checked, in one go. Raises as `building`."""
    steps = building(settings, shared)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            built: Frontends = done.value
            return built


def building(
    settings: Settings, shared: SharedParts, former: Frontends | None = None
) -> Generator[None, None, Frontends]:
    """Builds the frontends of some settings, which have been checked, with a stop behind each of them.

    Raises:
        OSError: a certificate's file cannot be used any more.
    """
    views = frontends_of(settings)
    cache = _shared_cache(settings, shared, former) if len(views) > 1 else None
    known = {} if former is None else {each.name: each for each in former.every}
    told = told_fields(map(compile_route, all_routes(settings)))
    same = former is not None and former.cache is cache and former.told == told

    def frontend(view: View) -> Frontend:
        before = known.get(view.name)
        if before is not None and same and _is_served_alike(before.settings, view.settings):
            return before
        own = None if cache is None else cache.view()
        return build_frontend(view.settings, shared, before, name=view.name, cache=own, told=told)

    built = []
    for view in views:
        built.append(frontend(view))
        yield
    return Frontends(tuple(built), _lines(settings, former), _table(built), cache, told)


def _shared_cache(settings: Settings, shared: SharedParts, former: Frontends | None) -> NearCache | None:
    """Returns the memory of several frontends: the former one, if it is as large as the settings say."""
    if not settings.session.near_cache:
        return None
    memory = settings.session.near_cache_memory
    if former is not None and former.cache is not None and former.cache.memory == memory:
        return former.cache
    return NearCache(memory=memory, feed=shared.feed, counts=shared.metrics.near_cache)


def _is_served_alike(before: Settings, after: Settings) -> bool:
    """Returns True where the parts in force take over what differs, if anything does."""
    if beside(before.server) != beside(after.server):
        return False
    changes = compare(before, after)
    return changes.in_place and not changes.left


def _lines(settings: Settings, former: Frontends | None) -> LineCache:
    csrf_header = settings.session.csrf_header.lower().encode("ascii")
    limits = RequestLimits.configured(settings.server, settings.forward_auth.hosts, hosts_of(settings))
    if former is not None and (former.lines.limits, former.lines.csrf_header) == (limits, csrf_header):
        return former.lines  # the settings leave all lines as they are
    route = RouteSettings(path="/", upstream="http://localhost")
    rules = HeaderRules.compiled(route, PublicOrigin.parse(settings.server.public_url), csrf_header)
    return LineCache(limits=limits, csrf_header=csrf_header, passes=rules.passes_on)


def _table(frontends: Sequence[Frontend]) -> FrontendTable[ForwardingApp] | None:
    if len(frontends) == 1:
        return None
    servers = [(each.settings.server, each.forwarding) for each in frontends]
    return FrontendTable(
        Placed(PublicOrigin.parse(server.public_url), server.base_path, app) for server, app in servers
    )
