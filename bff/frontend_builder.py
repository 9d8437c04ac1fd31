"""The building of a frontend from its settings, by one function.

Rule 1: building one changes nothing that a request meets: its memory of sessions is told of changes in Redis
when the frontend is put in force.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.routing import Route

from bff.credentials.bearer_credentials import Verifiers
from bff.credentials.credential_choice import CredentialChoice
from bff.credentials.identity_fields import IdentityFields
from bff.credentials.route_credentials import TokenSources, by_audience, for_routes, unsigned_of
from bff.credentials.session_credentials import Credentials
from bff.credentials.shared_token_exchange import exchanger_of
from bff.endpoints import own_endpoints
from bff.frontend import Frontend
from bff.frontend_rules import FrontendRules, Told
from bff.limits.concurrency_limits import Callers
from bff.limits.route_rate_limit import RouteRateLimit
from bff.observe.metrics import Metrics
from bff.oidc.dpop import thumbprint_of
from bff.oidc.providers import Providers
from bff.open_streams import OpenStreams
from bff.policy.forward_auth_request import Asking
from bff.policy.header_rules import HeaderRules
from bff.problems import LOGIN
from bff.proxy.forward.asgi_app import ForwardingApp
from bff.proxy.forward.destination import Destination
from bff.proxy.forward.fast_path import FastPath
from bff.proxy.forward.forward_auth import ForwardAuth
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.proxy.forward.traced_calls import TracedCall, TracedFastCall, TracedForwardAuthCall
from bff.proxy.websocket.traced_upgrade import TracedUpgrade
from bff.proxy.websocket.upgrade import WebSocketForwarding
from bff.refresh import Refresher
from bff.refresh.by_provider import coordinators_of
from bff.refresh.client_tokens import ClientTokens
from bff.refresh.traced_coordinator import coordinator_maker
from bff.session.client_token_store import ClientTokenStore
from bff.session.device_bound_sessions import sessions_of
from bff.session.expiry_watch import ExpiryWatch
from bff.session.minted_tokens import Mint, MintingKeys
from bff.session.near_cache import NearCache
from bff.session.session_calls import SessionCalls
from bff.session.sessions import Sessions
from bff.settings.model import Settings
from bff.shared_parts import SharedParts
from bff.web.endpoint_limits import EndpointLimits
from bff.web.events import EventsEndpoint
from bff.web.page_gate import page_gate
from bff.web.starlette_app import starlette_app


def build_frontend(
    settings: Settings,
    shared: SharedParts,
    former: Frontend | None = None,
    *,
    name: str = "",
    cache: NearCache | None = None,
    told: Told,
) -> Frontend:
    """Builds one frontend of its settings. They have been checked.

    Args:
        settings: its own.
        shared: the parts of the process.
        former: the one whose place it takes.
        name: its name, to which its keys and sessions are bound; "" for the only one, and the one without.
        cache: its view of that of several, which somebody else subscribes to the feed.
        told: the fields that routes to each backend make of claims, at any frontend.

    What a `former` one has warm, and the settings leave as it is, is kept: connections, keys of verifiers,
    and the counts of what is under way. Sessions are read anew.

    Raises:
        OSError: a certificate's file cannot be used any more.
    """
    tables = FrontendRules(settings, name, shared.route_tables, told)
    metrics = shared.metrics.at(frontend=name)
    own_memory: NearCache | None = None
    if cache is None and settings.session.near_cache:
        memory = settings.session.near_cache_memory
        cache = own_memory = NearCache(memory=memory, feed=shared.feed, counts=shared.metrics.near_cache)
    providers = shared.clients.of(settings)
    sessions = sessions_of(
        settings.server,
        store=shared.store,
        keyring=shared.keys.keyring.of_frontend(name),
        settings=settings.session,
        metrics=metrics,
        clock=shared.clock,
        cache=cache,
        refresh=settings.refresh,
        shown=providers.shown(),
        plan=tables.plan,
        providers=providers.names,
        frontend=name,
        missed=shared.silent.missed,
        ended=shared.ended,
    )
    refresher = coordinators_of(
        providers,
        coordinator_maker(shared.spans),
        sessions=sessions,
        tasks=shared.tasks,
        settings=settings.refresh,
        metrics=metrics,
        circuits=shared.circuits,
        clock=shared.clock,
        feed=shared.feed,
    )
    watch = ExpiryWatch(sessions=sessions, feed=shared.feed, tasks=shared.tasks, clock=shared.clock)
    parts = _Parts(
        metrics,
        providers,
        sessions,
        refresher,
        watch,
        MintingKeys(shared.keys.keyring, shared.clock),
        Verifiers(
            providers,
            shared.tasks,
            shared.clock,
            settings.redis.timeout,
            None if former is None else former.verifiers,
        ),
        OpenStreams(shared.event_streams) if former is None else former.forwarding.context.event_streams,
    )
    by_name, by_route = _credentials(shared, tables, parts)
    context = _context(shared, tables, by_route, parts, former)
    forward_auth = ForwardAuth(
        Asking.compiled(tables.public, tables.routes, tables.guard, shared.hooks.fields, tables.told),
        settings.forward_auth.secrets,
        None if shared.spans is None else TracedForwardAuthCall,
    )
    events = _events(shared, tables, parts, former)
    websockets = WebSocketForwarding(
        context=context,
        routes=tables.routes,
        guard=tables.guard,
        watch=watch,
        ping=settings.server.websocket_ping,
        upgrades=None if shared.spans is None else TracedUpgrade,
        former=None if former is None else former.websockets,
    )
    return Frontend(
        name=name,
        settings=settings,
        providers=providers,
        verifiers=parts.verifiers,
        guard=tables.guard,
        sessions=sessions,
        credentials=by_name,
        forwarding=_forwarding(
            shared, tables, context, parts, forward_auth=forward_auth, events=events, websockets=websockets
        ),
        forward_auth=forward_auth,
        events=events,
        websockets=websockets,
        memory=own_memory,
    )


class _Parts(NamedTuple):
    """The parts of a frontend that know its sessions and its providers."""

    metrics: Metrics
    providers: Providers
    sessions: Sessions
    refresher: Refresher
    watch: ExpiryWatch
    minting_keys: MintingKeys
    verifiers: Verifiers
    event_streams: OpenStreams


def _credentials(
    shared: SharedParts, tables: FrontendRules, made: _Parts
) -> tuple[Mapping[str | None, Credentials], Mapping[bytes, Credentials]]:
    """Makes the credentials for each audience, and those of each route by its path."""
    settings = tables.settings
    parts: dict[str, Any] = {
        "sessions": made.sessions,
        "refresher": made.refresher,
        "refresh_settings": settings.refresh,
        "clock": shared.clock,
    }
    exchanger = exchanger_of(made.providers, sessions=made.sessions, tasks=shared.tasks, clock=shared.clock)
    by_name = by_audience(shared.audiences, settings.route, exchanger, **parts)
    client_tokens = {
        client.settings.name: ClientTokens(
            client=client,
            store=ClientTokenStore(shared.store, shared.keys.keyring),
            tasks=shared.tasks,
            settings=settings.refresh,
            clock=shared.clock,
        )
        for client in made.providers
    }
    sources = TokenSources(
        exchanger,
        client_tokens,
        Mint(made.minting_keys, shared.clock, thumbprint_of),
        settings.minted_by(),
        tuple((each.name, each.client_id) for each in settings.providers()),
        settings.minted.lifetime,
    )
    return by_name, for_routes(tables.routes.routes, tables.plan, by_name, sources, **parts)


def _context(
    shared: SharedParts,
    tables: FrontendRules,
    credentials: Mapping[bytes, Credentials],
    made: _Parts,
    former: Frontend | None,
) -> ForwardingContext:
    settings = tables.settings
    return ForwardingContext(
        destinations=_destinations(shared, tables, credentials, made),
        request_ids=shared.request_ids_of(settings.server),
        tasks=shared.tasks,
        metrics=made.metrics,
        clock=time.perf_counter,
        access_log=settings.log.access,
        frontend=tables.name,
        error_page=settings.spa.error_page,
        login_url=settings.server.base_path + LOGIN,
        home=settings.home(),
        login_params=made.providers.login_params(),
        callers=Callers(settings.limits, None if former is None else former.forwarding.context.callers),
        event_streams=made.event_streams,
        bound_stream_lifetime=settings.session.bound_stream_lifetime,
        session_calls=SessionCalls(made.watch),
        response_lines=shared.response_lines,
        fast_routes=shared.fast_routes,
        spans=shared.spans,
    )


def _destinations(
    shared: SharedParts, tables: FrontendRules, credentials: Mapping[bytes, Credentials], made: _Parts
) -> dict[bytes, Destination]:
    routes, limits = tables.routes.routes, shared.limits_of(tables.name)
    proofs = shared.proofs.for_routes(routes, tables.settings.providers())
    destinations: dict[bytes, Destination] = {}
    for route in routes:
        settings, own = route.settings, credentials[route.path]
        told = tables.told.get(route.upstream, frozenset())
        rules = HeaderRules.compiled(settings, tables.public, tables.csrf_header, shared.hooks.fields, told)
        bearer = made.verifiers.access(settings, tables.plan.by_path.get(route.path))
        destinations[route.path] = Destination(
            shared.pools.for_upstream(route),
            rules,
            CredentialChoice(own, bearer, unsigned_of(route, own), settings.requires_session()),
            IdentityFields(rules, proofs.get(route.path)),
            RouteRateLimit.of(settings, limits),
            None if shared.hooks.before_forward is None else shared.hooks,
        )
    return destinations


def _events(
    shared: SharedParts, tables: FrontendRules, made: _Parts, former: Frontend | None
) -> EventsEndpoint:
    return EventsEndpoint(
        sessions=made.sessions,
        guard=tables.guard,
        watch=made.watch,
        streams=made.event_streams,
        tasks=shared.tasks,
        session=tables.settings.session,
        limits=tables.settings.limits,
        server=tables.settings.server,
        open_streams=shared.metrics.event_streams,
        clock=shared.clock,
        former=None if former is None else former.events,
    )


def _forwarding(
    shared: SharedParts,
    tables: FrontendRules,
    context: ForwardingContext,
    made: _Parts,
    *,
    forward_auth: ForwardAuth,
    events: EventsEndpoint,
    websockets: WebSocketForwarding,
) -> ForwardingApp:
    """Makes the application: forwarded calls, and behind them our endpoints and the page."""
    settings = tables.settings
    endpoints: list[Route] = own_endpoints(
        settings,
        providers=made.providers,
        store=shared.store,
        sessions=made.sessions,
        refresher=made.refresher,
        keyring=shared.keys.keyring.of_frontend(tables.name),
        minting_keys=made.minting_keys,
        guard=tables.guard,
        routes=tables.own_routes,
        limits=EndpointLimits(settings.limits, shared.limits_of(tables.name)),
        metrics=made.metrics,
        admit=shared.hooks.refusal_of,
        clock=shared.clock,
    )
    return ForwardingApp(
        context=context,
        fast_path=FastPath(
            context=context,
            routes=tables.routes,
            guard=tables.guard,
            calls=None if shared.spans is None else TracedFastCall,
        ),
        routes=tables.routes,
        guard=tables.guard,
        forward_auth=forward_auth,
        websockets=websockets,
        otherwise=starlette_app(
            [*endpoints, *events.routes()],
            events,
            server=settings.server,
            spa=settings.spa,
            metrics=made.metrics,
            is_own=tables.routes.is_own,
            access_log=settings.log.access,
            home=settings.home(),
            gate=page_gate(settings, made.sessions, tables.own_routes),
            frontend=tables.name,
            spans=shared.spans,
        ),
        calls=ForwardedCall if shared.spans is None else TracedCall,
    )
