"""The composition root: settings in, a running proxy out. Nothing else constructs the parts.

The order of the shutdown: rotations under way are waited for, then the connections to backends, provider
and store are closed.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from bff.endpoints import own_endpoints
from bff.hooks import NO_HOOKS, EndTeller, Hooks
from bff.live_settings import LiveSettings, Reloaded
from bff.observe.logs import get_logger
from bff.observe.metrics import Metrics
from bff.observe.telemetry import telemetry_of
from bff.observe.tracing import Place
from bff.oidc.client import OidcClient
from bff.oidc.providers import Providers
from bff.oidc.traced_http import http_maker
from bff.policy.forward_auth import Asking
from bff.policy.headers import HeaderRules
from bff.policy.origin import Guard, PublicOrigin
from bff.policy.route_access import AccessPlan, asked_claims
from bff.policy.routes import RouteTable
from bff.problems import LOGIN
from bff.proxy.forward.asgi_app import STATE, ForwardingApp
from bff.proxy.forward.ask_before import AskBeforeForward
from bff.proxy.forward.bearer import Verifiers
from bff.proxy.forward.concurrency_limits import Callers
from bff.proxy.forward.context import Destination, ForwardingContext
from bff.proxy.forward.credentials import Credentials
from bff.proxy.forward.fast_path import FastPath
from bff.proxy.forward.forward_auth import ForwardAuth
from bff.proxy.forward.request_ids import RequestIdMaker
from bff.proxy.forward.route_credentials import TokenSources, exchanged_for, for_routes, unsigned_of
from bff.proxy.forward.route_rate_limit import RouteRateLimit
from bff.proxy.forward.session_end import SignedCalls
from bff.proxy.forward.token_exchange import by_audience, exchanger_of
from bff.proxy.forward.traced import fast_calls, forwarded_calls
from bff.proxy.server.line_cache import LineCache
from bff.proxy.server.request_parser import RequestLimits
from bff.proxy.upstream.pool import Pools, UpstreamPool
from bff.proxy.websocket.handler import WebSocketForwarding
from bff.proxy.websocket.traced import upgrades
from bff.refresh.by_provider import coordinators_of
from bff.refresh.client_tokens import ClientTokens
from bff.refresh.traced import coordinator_maker
from bff.session.client_tokens import ClientTokenStore
from bff.session.cookie import SessionCookie
from bff.session.expiry_watch import ExpiryWatch
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.live_count import LiveCount
from bff.session.live_keys import LiveKeys
from bff.session.minted import Mint, MintingKeys
from bff.session.near_cache import NearCache
from bff.session.rate_limits import RateLimits
from bff.session.sessions import Sessions
from bff.session.silent_endings import SilentEndings
from bff.session.traced_store import new_store
from bff.settings.claim_rule import names_of
from bff.settings.model import RouteSettings, SessionSettings, Settings
from bff.settings.watched_files import WatchedFiles, see
from bff.tasks import Tasks
from bff.web.events import EventsEndpoint
from bff.web.limits import EndpointLimits
from bff.web.own_answers import own_answers
from bff.web.readiness import Check, ReadinessChecks

_log = get_logger("bff.app")


class App:
    """The proxy as an ASGI application.

    `clock` gives seconds since the epoch. `audiences` are those that tokens are asked for beside the routes'.

    Attributes:
        credentials: those for each audience; under None the session's own.
    """

    credentials: Mapping[str | None, Credentials]
    guard: Guard
    sessions: Sessions

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        hooks: Hooks = NO_HOOKS,
        audiences: Collection[str] = (),
    ) -> None:
        self.settings = settings
        self._audiences = frozenset(audiences)
        files = WatchedFiles(settings)
        files.begin(see(files.paths()))
        self.metrics = Metrics()
        self.tasks = Tasks()
        self._hooks = hooks
        ended = EndTeller(hooks, self.tasks).ended
        place = Place.of(settings.server.public_url)
        self._telemetry = telemetry_of(settings.telemetry, os.environ, self.metrics, place)
        spans = self._spans = self._telemetry.spans
        self._store = new_store(settings.redis, self.metrics, spans)
        self._changes = InvalidationFeed(
            settings.redis, prefix=self._store.watched, topology=self._store.topology
        )
        self._changes.subscribe(self._store.renewal)
        self.metrics.change_feed_trusted.set_function(lambda: self._changes.trusted)
        asked = frozenset().union(*map(asked_claims, settings.route))
        self._providers = Providers(
            OidcClient(
                each,
                clock=clock,
                tasks=self.tasks,
                failed=self.metrics.provider_failed,
                watched=self.metrics.provider_calls.timed,
                http=http_maker(spans),
                needed=asked.union(names_of(each.allow)),
            )
            for each in settings.providers()
        )
        self._limits = RateLimits(
            self._store.rates, timeout=settings.limits.timeout, metrics=self.metrics, clock=time.monotonic
        )
        self._silent = SilentEndings(endings=self._store.endings, metrics=self.metrics, ended=ended)
        self._changes.subscribe(self._silent)
        self._live_count = LiveCount(self._store.inventory, lambda: self._silent.leads, self.metrics.sessions)
        self._readiness = ReadinessChecks(
            store=self._store,
            feed=self._changes,
            clients=list(self._providers),
            without_redis=settings.server.ready_without_redis,
        )
        self._pools = Pools()
        self._keys = LiveKeys(settings.session.keys, clock)
        self.live = LiveSettings(
            files,
            keys=self._keys,
            client=self._providers.default,
            pools=self._pools,
            redis=self._store.renewal,
            metrics=self.metrics,
        )
        self._ended = ended
        self._asgi = self._build(settings, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        await self._asgi(scope, receive, send)

    async def readiness(self) -> list[Check]:
        """True while requests may come here."""
        return await self._readiness.made()

    async def reload(self, newer: Settings | None = None) -> Reloaded:
        """Puts in force the newer settings that can change now, and changes of the files that they name."""
        return await self.live.reload(newer)

    def _build(self, settings: Settings, clock: Callable[[], float]) -> ASGIApp:
        keyring = self._keys.keyring
        public, spans = PublicOrigin.parse(settings.server.public_url), self._spans
        csrf_header = settings.session.csrf_header.lower().encode("ascii")
        guard = self.guard = Guard(public.origin, csrf_header, settings.session.csrf_header)
        cache = self._near_cache(settings.session)
        longest = settings.server.max_path_bytes
        own_path = settings.server.own_path().encode("ascii")
        own_routes = RouteTable.from_settings(settings.public_routes(), longest, own_path)
        routes = RouteTable.from_settings(settings.served_routes(), longest, own_path)
        plan = AccessPlan((route.path, route.settings) for route in routes.routes)
        sessions = self.sessions = Sessions(
            store=self._store,
            keyring=keyring,
            cookie=SessionCookie.configured(settings.server, settings.session),
            settings=settings.session,
            metrics=self.metrics,
            clock=clock,
            cache=cache,
            refresh=settings.refresh,
            shown=self._providers.shown(),
            plan=plan,
            providers=self._providers.names,
            missed=self._silent.missed,
            ended=self._ended,
        )
        refresher, waiters = coordinators_of(
            self._providers,
            coordinator_maker(spans),
            sessions=sessions,
            tasks=self.tasks,
            settings=settings.refresh,
            metrics=self.metrics,
            clock=clock,
            feed=self._changes,
        )
        for waiter in waiters:
            self._changes.subscribe(waiter)
        parts = {
            "sessions": sessions,
            "refresher": refresher,
            "tasks": self.tasks,
            "refresh_settings": settings.refresh,
            "clock": clock,
        }
        exchanger = exchanger_of(self._providers, sessions=sessions, tasks=self.tasks, clock=clock)
        self.credentials = by_audience(
            self._audiences | exchanged_for(settings.route),
            exchanger,
            **parts,
        )
        client_tokens = ClientTokens(
            client=self._providers.default,
            store=ClientTokenStore(self._store, keyring),
            tasks=self.tasks,
            settings=settings.refresh,
            clock=clock,
        )
        minting_keys = MintingKeys(keyring, clock)
        sources = TokenSources(
            exchanger,
            client_tokens,
            Mint(minting_keys, clock),
            settings.minted_by(),
            settings.provider.client_id,
            settings.minted.lifetime,
        )
        credentials = for_routes(routes.routes, plan, self.credentials, sources, **parts)
        watch = ExpiryWatch(sessions=sessions, feed=self._changes, tasks=self.tasks, clock=clock)
        self._changes.subscribe(watch)

        def forget() -> None:
            sessions.decrypted.clear()
            if cache is not None:
                cache.changed(None)
            watch.changed(None)

        self._keys.forget = forget
        verifiers = self._verifiers = Verifiers(self._providers, clock)
        context = ForwardingContext(
            destinations={
                route.path: Destination(
                    self._pools.for_upstream(route),
                    HeaderRules.compiled(route.settings, public, csrf_header, self._hooks.fields),
                    credentials[route.path],
                    RouteRateLimit.of(route.settings, self._limits),
                    AskBeforeForward.of(self._hooks),
                    verifiers.access(route.settings, plan.by_path.get(route.path)),
                    unsigned_of(route, credentials[route.path]),
                )
                for route in routes.routes
            },
            request_ids=RequestIdMaker(settings.server.trusted_proxies),
            tasks=self.tasks,
            metrics=self.metrics,
            clock=time.perf_counter,
            access_log=settings.log.access,
            error_page=settings.spa.error_page,
            login_url=settings.server.base_path + LOGIN,
            home=settings.home(),
            login_params=self._providers.login_params(),
            callers=Callers(settings.limits),
            signed_calls=SignedCalls(watch),
            spans=spans,
        )
        self._count_connections()
        events = EventsEndpoint(
            sessions=sessions,
            guard=guard,
            watch=watch,
            streams=context.event_streams,
            tasks=self.tasks,
            session=settings.session,
            limits=settings.limits,
            server=settings.server,
            open_streams=self.metrics.event_streams,
            clock=clock,
        )
        endpoints = own_endpoints(
            settings,
            providers=self._providers,
            store=self._store,
            sessions=sessions,
            refresher=refresher,
            keyring=keyring,
            minting_keys=minting_keys,
            guard=guard,
            routes=own_routes,
            limits=EndpointLimits(settings.limits, self._limits),
            metrics=self.metrics,
            admit=self._hooks.refusal_of,
            clock=clock,
        )
        fast_path = FastPath(
            context=context,
            routes=routes,
            guard=guard,
            lines=self._line_cache(csrf_header, public),
            calls=fast_calls(spans),
        )
        asking = Asking.compiled(public, routes, guard, self._hooks.fields)
        forward_auth = ForwardAuth(asking, settings.forward_auth.secrets)
        self.live.take_forward_auth = forward_auth.take
        self._forwarding = ForwardingApp(
            context=context,
            fast_path=fast_path,
            routes=routes,
            guard=guard,
            forward_auth=forward_auth,
            websockets=WebSocketForwarding(
                context=context,
                routes=routes,
                guard=guard,
                watch=watch,
                ping=settings.server.websocket_ping,
                upgrades=upgrades(spans),
            ),
            otherwise=own_answers(
                [*endpoints, *events.routes()],
                events,
                server=settings.server,
                spa=settings.spa,
                lifespan=self.running,
                metrics=self.metrics,
                is_own=routes.is_own,
                access_log=settings.log.access,
                home=settings.home(),
                spans=spans,
            ),
            calls=forwarded_calls(spans),
        )
        return self._forwarding

    def _line_cache(self, csrf_header: bytes, public: PublicOrigin) -> LineCache:
        server = self.settings.server
        return LineCache(
            limits=RequestLimits.configured(server),
            csrf_header=csrf_header,
            passes=HeaderRules.compiled(
                RouteSettings(path="/", upstream="http://localhost"), public, csrf_header
            ).passes_on,
        )

    def _near_cache(self, settings: SessionSettings) -> NearCache | None:
        if not settings.near_cache:
            return None
        cache = NearCache(
            memory=settings.near_cache_memory, feed=self._changes, counts=self.metrics.near_cache
        )
        self._changes.subscribe(
            cache
        )  # first, so that nobody else who is woken by a change finds stale entries
        return cache

    @asynccontextmanager
    async def running(self, _: object = None) -> AsyncIterator[dict[str, object]]:
        """Runs the proxy's work beside its requests, for as long as it serves; once, on one event loop.

        Without it each call asks Redis, and connections are left open at the end.
        """
        await self._changes.start()
        await self._silent.start()
        await self._live_count.start()
        self.live.start()
        self._telemetry.start()
        try:
            yield {STATE: self._forwarding}
        finally:
            await self.live.aclose()
            left = await self.tasks.drain(self.settings.server.shutdown_timeout)
            if left:
                _log.warning("unfinished", tasks=left)
                await self.tasks.cancel_all()
            await self._changes.aclose()
            await self._live_count.aclose()
            await self._silent.aclose()
            await self._pools.aclose()
            await self._verifiers.aclose()
            for client in self._providers:
                await client.aclose()
            await self._store.aclose()
            await self._telemetry.aclose()

    def _count_connections(self) -> None:
        pools: dict[str, list[UpstreamPool]] = {}
        for upstream, pool in self._pools.all():
            pools.setdefault(upstream.name, []).append(pool)
        for name, same in pools.items():
            gauge = self.metrics.upstream_connections(name)
            gauge.set_function(lambda same=same: sum(pool.stats().open for pool in same))  # type: ignore[misc] # the default binds this turn's pools


def create_app(settings: Settings) -> App:
    """Builds the proxy. `settings` have been checked, and their Redis URL names a server."""
    return App(settings)
