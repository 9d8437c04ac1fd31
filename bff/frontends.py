"""All frontends of a process, and the table that finds that of a request."""

from collections.abc import Sequence
from dataclasses import replace

from bff.frontend import Frontend, build_frontend
from bff.policy.frontend_table import FrontendTable, Placed, hosts_of
from bff.policy.origin import PublicOrigin
from bff.proxy.forward.asgi_app import ForwardingApp
from bff.session.near_cache import NearCache
from bff.settings.frontends import frontends_of
from bff.settings.model import Settings
from bff.shared_parts import SharedParts


def build_frontends(settings: Settings, shared: SharedParts) -> tuple[Frontend, ...]:
    """Builds the frontends of some settings; several share the memory of one near cache."""
    cache, views = None, frontends_of(settings)
    if settings.session.near_cache and len(views) > 1:
        memory = settings.session.near_cache_memory
        cache = NearCache(memory=memory, feed=shared.feed, counts=shared.metrics.near_cache)
    hosts = hosts_of(settings)
    built = tuple(
        build_frontend(each.settings, shared, name=each.name, cache=cache, hosts=hosts) for each in views
    )
    if cache is None:
        return built
    # The cache first, so that nobody else who is woken by a change finds stale entries.
    return (replace(built[0], listeners=(cache, *built[0].listeners)), *built[1:])


def table_of(frontends: Sequence[Frontend]) -> FrontendTable[ForwardingApp] | None:
    """Returns the table of several frontends; None for one, which nothing is looked up for."""
    if len(frontends) == 1:
        return None
    servers = [(each.settings.server, each.forwarding) for each in frontends]
    return FrontendTable(
        Placed(PublicOrigin.parse(server.public_url), server.base_path, app) for server, app in servers
    )
