"""The parts that live as long as the process: what no change of the settings replaces.

Everything else that requests are served with belongs to a `Frontend`, which is built from settings and
replaced as a whole.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable

from bff.credentials.backend_proofs import ProofSource
from bff.hooks import EndTeller, Hooks
from bff.limits.rate_limits import RateLimits
from bff.observe.metrics import Metrics
from bff.observe.telemetry import telemetry_of
from bff.observe.tracing import Place
from bff.oidc.providers import Providers
from bff.open_streams import OpenStreams
from bff.policy.intern_pool import InternPool
from bff.policy.routes import RouteTable
from bff.provider_clients import ProviderClients
from bff.proxy.forward.response_templates import ResponseLines
from bff.proxy.forward.shared_fast_route import SharedRoute
from bff.refresh.by_provider import CircuitBreakers
from bff.request_ids import RequestIdMaker
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.live_server_keys import LiveKeys
from bff.session.session_count import LiveCount
from bff.session.traced_store import new_store
from bff.session.vanished_sessions import VanishedSessions
from bff.settings.model import ServerSettings, Settings
from bff.tasks import Tasks
from bff.upstream.pool_registry import Pools


class SharedParts:
    """The shared parts of one process, by the settings that it starts with.

    Args:
        settings: all of them.
        clock: gives seconds since the epoch.
        hooks: what the application around it is asked and told.
        audiences: those that tokens are asked for beside the routes'.
    """

    def __init__(
        self, settings: Settings, *, clock: Callable[[], float], hooks: Hooks, audiences: Collection[str]
    ) -> None:
        self.clock = clock
        self.hooks = hooks
        self.audiences = frozenset(audiences)
        self.metrics = Metrics()
        self.tasks = Tasks()
        self.ended = EndTeller(hooks, self.tasks).ended
        place = Place.of(settings.server.public_url)
        self.telemetry = telemetry_of(settings.telemetry, os.environ, self.metrics, place)
        self.spans = self.telemetry.spans
        self.store = new_store(settings.redis, self.metrics, self.spans)
        self.feed = InvalidationFeed(
            settings.redis,
            prefix=self.store.watched,
            notes=self.store.watched_notes,
            topology=self.store.topology,
        )
        self.feed.subscribe(self.store.renewal)
        self.metrics.change_feed_trusted.set_function(lambda: self.feed.trusted)
        self._limits: dict[str, RateLimits] = {}
        self._limits_timeout = settings.limits.timeout
        self.silent = VanishedSessions(endings=self.store.endings, metrics=self.metrics, ended=self.ended)
        self.feed.subscribe(self.silent, to_notes=False)  # an ending is a deletion; notes expire later
        self.live_count = LiveCount(self.store.inventory, lambda: self.silent.leads, self.metrics.sessions)
        self.pools = Pools()
        self.proofs = ProofSource(clock)
        self.keys = LiveKeys(settings.session.keys, clock)
        self.event_streams = OpenStreams()
        self.circuits = CircuitBreakers(clock, self.metrics)
        self.route_tables: InternPool[RouteTable] = InternPool()
        self.response_lines: InternPool[ResponseLines] = InternPool()
        self.fast_routes: InternPool[SharedRoute] = InternPool()
        self._request_ids: InternPool[RequestIdMaker] = InternPool()
        self.clients = ProviderClients(clock=clock, tasks=self.tasks, metrics=self.metrics, spans=self.spans)

    def limits_of(self, frontend: str) -> RateLimits:
        """Returns the limits of a frontend, which counts its own acts."""
        if (limits := self._limits.get(frontend)) is None:
            limits = self._limits[frontend] = RateLimits(
                self.store.rates,
                timeout=self._limits_timeout,
                metrics=self.metrics.at(frontend=frontend),
                clock=time.monotonic,
                frontend=frontend,
            )
        return limits

    def request_ids_of(self, server: ServerSettings) -> RequestIdMaker:
        """Returns the maker of request ids: one for all frontends that trust the same proxies."""
        proxies = tuple(server.trusted_proxies)
        return self._request_ids.of(proxies, lambda: RequestIdMaker(proxies))

    def retain_clients(self, used: Iterable[Providers]) -> None:
        """Retires the clients of providers that no frontend uses any more."""
        self.clients.retain(used)
        self.circuits.retain(self.clients.all())

    def wait_for_limits(self, timeout: float) -> None:
        """Bounds each wait of all frontends' limits for Redis by so many seconds."""
        self._limits_timeout = timeout
        for limits in self._limits.values():
            limits.timeout = timeout

    async def start(self) -> None:
        """Begins the work beside requests."""
        await self.feed.start()
        await self.silent.start()
        await self.live_count.start()
        self.telemetry.start()

    async def aclose(self) -> None:
        """Ends it, and closes the connections to backends and Redis."""
        await self.feed.aclose()
        await self.live_count.aclose()
        await self.silent.aclose()
        await self.pools.aclose()
        await self.clients.aclose()
        await self.store.aclose()
        await self.telemetry.aclose()
