"""The endpoints under `/bff`, of the parts that the composition root has made: a piece of `app.py`."""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.routing import Route

from bff.crypto import Keyring
from bff.hooks import SignIn
from bff.observe.metrics import Metrics
from bff.oidc.providers import Providers
from bff.policy.csrf import Guard
from bff.policy.routes import RouteTable
from bff.refresh import Refresher
from bff.session.minted_tokens import MintingKeys
from bff.session.own_sessions import OwnSessions
from bff.session.page_events import notice_of
from bff.session.sessions import Sessions
from bff.session.store import SessionStore
from bff.settings.model import Settings
from bff.web import dbsc
from bff.web.backchannel_logout import BackchannelEndpoint
from bff.web.client_files import client_routes
from bff.web.endpoint_limits import EndpointLimits
from bff.web.frontchannel_logout import FrontchannelEndpoint
from bff.web.jwks import JwksEndpoint
from bff.web.login import LoginEndpoints
from bff.web.login_transaction import TransactionCookies
from bff.web.logout import LogoutEndpoints, logout_url
from bff.web.own_session_endpoints import OwnSessionEndpoints
from bff.web.shared_signals import SharedSignalsEndpoint
from bff.web.user import UserEndpoints


def own_endpoints(
    settings: Settings,
    *,
    providers: Providers,
    store: SessionStore,
    sessions: Sessions,
    refresher: Refresher,
    keyring: Keyring,
    minting_keys: MintingKeys,
    guard: Guard,
    routes: RouteTable,
    limits: EndpointLimits,
    metrics: Metrics,
    admit: Callable[[SignIn], Awaitable[str | None]],
    clock: Callable[[], float],
) -> list[Route]:
    """Returns the routes of all endpoints but the stream of events; `admit` is asked about each sign-in."""
    login = LoginEndpoints(
        providers=providers,
        sessions=sessions,
        cookies=TransactionCookies(keyring, settings.server, settings.session),
        server=settings.server,
        table=routes,
        limits=limits,
        state_lifetime=settings.session.transaction_lifetime,
        metrics=metrics,
        clock=clock,
        admit=admit,
        home=settings.home(),
    )
    logout = LogoutEndpoints(
        providers=providers,
        sessions=sessions,
        keyring=keyring,
        guard=guard,
        server=settings.server,
        clear_site_data=settings.session.clear_site_data,
        clock=clock,
    )
    backchannel = BackchannelEndpoint(
        providers=providers, sessions=sessions, server=settings.server, clock=clock
    )
    frontchannel = FrontchannelEndpoint(
        providers=providers, sessions=sessions, server=settings.server, limits=limits
    )
    signals = SharedSignalsEndpoint(providers=providers, sessions=sessions, server=settings.server)
    own = OwnSessionEndpoints(
        sessions=sessions,
        own=OwnSessions(store=store, sessions=sessions, settings=settings.session, clock=clock),
        guard=guard,
        sign_out=logout.sign_out,
        trusted_proxies=settings.server.trusted_proxies,
    )
    user = UserEndpoints(
        sessions=sessions,
        refresher=refresher,
        guard=guard,
        limits=limits,
        logout_url=partial(logout_url, keyring, base_path=settings.server.base_path),
        shown={each.name: each.claims for each in settings.providers()},
        trusted_proxies=settings.server.trusted_proxies,
        clock=clock,
    )
    return [
        *login.routes(),
        *logout.routes(),
        *backchannel.routes(),
        *frontchannel.routes(),
        *signals.routes(),
        *JwksEndpoint(minting_keys, needed=settings.mints()).routes(),
        *user.routes(),
        *own.routes(),
        *dbsc.endpoints_of(sessions, guard, settings.server, limits),
        *client_routes(
            settings.session.csrf_header,
            routes.taken,
            base_path=settings.server.base_path,
            heartbeat=settings.server.events_heartbeat,
            notice=notice_of(settings.session.idle_timeout, settings.session.ending_notice),
        ),
    ]
