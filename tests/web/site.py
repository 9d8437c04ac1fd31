"""The sign-in and sign-out endpoints on a real Redis and a provider on a socket, and a browser for them."""

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx
from pydantic import SecretStr
from starlette.applications import Starlette

from bff.crypto import Keyring, new_secret
from bff.limits.rate_limits import RateLimits
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.oidc.providers import Providers
from bff.policy.csrf import Guard
from bff.policy.public_origin import PublicOrigin
from bff.policy.routes import RouteTable
from bff.session.own_sessions import OwnSessions
from bff.session.session_cookie import SessionCookie
from bff.session.sessions import Found, NoSession, Sessions
from bff.session.store import SessionStore
from bff.settings.claim_rule import names_of
from bff.settings.model import (
    LimitSettings,
    ProviderSettings,
    RouteSettings,
    ServerSettings,
    SessionSettings,
)
from bff.tasks import Tasks
from bff.web.backchannel_logout import BackchannelEndpoint
from bff.web.endpoint_limits import EndpointLimits
from bff.web.frontchannel_logout import FrontchannelEndpoint
from bff.web.login import LoginEndpoints
from bff.web.login_transaction import TransactionCookies
from bff.web.logout import LogoutEndpoints, logout_url
from bff.web.own_session_endpoints import OwnSessionEndpoints
from bff.web.shared_signals import SharedSignalsEndpoint
from tests.support.conformance import hold
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.support.settings import redis_settings

Origin = Literal["same-origin", "cross-site", "none"]
SESSION = "__Host-Http-bff"
TX = "__Host-Http-bff-tx-"
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass
class Browser:
    """Cookies as a browser keeps and sends them, and nothing else of one."""

    app: Any
    base: str
    cookies: dict[str, tuple[str, str]] = field(default_factory=dict)
    blocks_cookies: bool = False
    answers: list[httpx.Response] = field(default_factory=list)

    async def get(
        self, path: str, *, origin: Origin = "same-origin", headers: Mapping[str, str] = NONE
    ) -> httpx.Response:
        """A navigation."""
        sent = {"sec-fetch-site": origin, "sec-fetch-mode": "navigate", **headers}
        return await self._send("GET", path, origin, sent)

    async def post(
        self, path: str, *, origin: Origin = "same-origin", headers: Mapping[str, str] = NONE
    ) -> httpx.Response:
        """A script's call of a page of ours."""
        sent = {"sec-fetch-site": origin, "sec-fetch-mode": "cors", "x-csrf": "1", **headers}
        return await self._send("POST", path, origin, sent)

    async def call(self, method: str, path: str) -> httpx.Response:
        """Any call of a script of ours."""
        sent = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "x-csrf": "1"}
        return await self._send(method, path, "same-origin", sent)

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], origin: Origin = "same-origin"
    ) -> httpx.Response:
        """Anything else, with these headers and the cookies."""
        return await self._send(method, path, origin, {"sec-fetch-site": origin, **headers})

    async def follow(self, answer: httpx.Response) -> httpx.Response:
        """Goes where a redirect or a Refresh of our own leads."""
        refresh = re.fullmatch(r"0; url=(.*)", answer.headers.get("refresh", ""))
        return await self.get(refresh[1] if refresh else answer.headers["location"])

    def session(self) -> str | None:
        """The session cookie's value."""
        return self.cookies.get(SESSION, (None, ""))[0]

    def transactions(self) -> list[str]:
        """The names of the transaction cookies."""
        return [name for name in self.cookies if name.startswith(TX)]

    async def _send(self, method: str, path: str, origin: Origin, headers: dict[str, str]) -> httpx.Response:
        visible = {
            name: value
            for name, (value, same_site) in self.cookies.items()
            if origin != "cross-site" or same_site != "Strict"
        }
        if visible:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in visible.items())
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
            answer = await client.request(method, path, headers=headers)
        for value in answer.headers.get_list("set-cookie"):
            self._keep(value)
        self.answers.append(answer)
        hold(answer)
        return answer

    def _keep(self, set_cookie: str) -> None:
        pair, *attributes = set_cookie.split("; ")
        name, _, value = pair.partition("=")
        assert name.startswith("__Host-Http-")
        assert {"Secure", "HttpOnly", "Path=/"} <= set(attributes), set_cookie
        assert len(pair) <= 4096
        if self.blocks_cookies:
            return
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        else:
            same_site = next(each for each in attributes if each.startswith("SameSite="))
            self.cookies[name] = (value, same_site.partition("=")[2])


@dataclass
class Site:
    """What a test asks for: the app, its parts, and the provider."""

    app: Starlette
    sessions: Sessions
    keyring: Keyring
    provider: ServedProvider
    redis: RedisServer
    clock: "Clock"
    base: str
    client: OidcClient

    def browser(self) -> Browser:
        return Browser(self.app, self.base)

    async def login(self, browser: Browser, path: str = "/bff/login") -> str:
        """Goes to login; returns the authorization URL."""
        answer = await browser.get(path)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])

    async def come_back(self, browser: Browser, location: str, **changes: str | None) -> httpx.Response:
        """The user signs in at the provider, and the browser goes on until our last redirect."""
        path = self.provider.answer_to(location, **changes)
        page = await browser.get(path, origin="cross-site")
        assert page.status_code == 200, page.text
        return await browser.follow(page)

    async def sign_in(self, browser: Browser, path: str = "/bff/login") -> httpx.Response:
        return await self.come_back(browser, await self.login(browser, path))

    async def signed_in(self, browser: Browser) -> Found | NoSession:
        handle = browser.session()
        return await self.sessions.find([] if handle is None else [f"{SESSION}={handle}".encode()])

    async def reason_of(self, handle: str) -> str | None:
        """The reason why a session is over; None while it lives."""
        found = await self.sessions.open(handle)
        return None if isinstance(found, Found) else str(found.reason)

    def logout_url(self, browser: Browser) -> str:
        return logout_url(self.keyring, browser.session() or "")


def query(location: str) -> dict[str, str]:
    """The query of a URL, each parameter once."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


class Clock:
    """The real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@asynccontextmanager
async def running_site(
    redis: RedisServer,
    provider: ServedProvider,
    *,
    per_minute: int = 1000,
    session: SessionSettings | None = None,
    needed: Sequence[str] = (),
    **settings: Any,
) -> AsyncIterator[Site]:
    """The endpoints on https://app.example, with a route at /api."""
    clock, tasks, keyring, metrics = Clock(), Tasks(), Keyring([new_secret()]), Metrics()
    server = ServerSettings(public_url="https://app.example")
    session = session or SessionSettings()
    store = SessionStore(redis_settings(redis.url), metrics)
    client = OidcClient(
        ProviderSettings(
            issuer=provider.base,
            client_id="spa-bff",
            client_secret=SecretStr("a-client-secret"),
            **({"timeout": 10.0} | settings),
        ),
        clock=clock,
        tasks=tasks,
        needed={*needed, *names_of(settings.get("allow"))},
    )
    sessions = Sessions(
        store=store,
        keyring=keyring,
        cookie=SessionCookie.configured(server, session),
        settings=session,
        metrics=metrics,
        clock=clock,
    )
    limits = LimitSettings(login_per_minute=per_minute, callback_per_minute=per_minute)
    rates = RateLimits(store.rates, timeout=20.0, metrics=metrics, clock=clock)
    providers = Providers([client])
    login = LoginEndpoints(
        providers=providers,
        sessions=sessions,
        cookies=TransactionCookies(keyring, server, session),
        server=server,
        table=RouteTable.from_settings([RouteSettings(path="/api", upstream="http://127.0.0.1:1")]),
        limits=EndpointLimits(limits, rates),
        state_lifetime=session.transaction_lifetime,
        metrics=metrics,
        clock=clock,
    )
    logout = LogoutEndpoints(
        providers=providers,
        sessions=sessions,
        keyring=keyring,
        guard=Guard(PublicOrigin.parse(server.public_url).origin, b"x-csrf"),
        server=server,
        clear_site_data=session.clear_site_data,
        clock=clock,
    )
    backchannel = BackchannelEndpoint(providers=providers, sessions=sessions, server=server, clock=clock)
    frontchannel = FrontchannelEndpoint(
        providers=providers, sessions=sessions, server=server, limits=EndpointLimits(limits, rates)
    )
    signals = SharedSignalsEndpoint(providers=providers, sessions=sessions, server=server)
    own = OwnSessionEndpoints(
        sessions=sessions,
        own=OwnSessions(store=store, sessions=sessions, settings=session, clock=clock),
        guard=Guard(PublicOrigin.parse(server.public_url).origin, b"x-csrf"),
        sign_out=logout.sign_out,
        trusted_proxies=server.trusted_proxies,
    )
    app = Starlette(
        routes=[
            *login.routes(),
            *logout.routes(),
            *backchannel.routes(),
            *frontchannel.routes(),
            *signals.routes(),
            *own.routes(),
        ]
    )
    try:
        yield Site(app, sessions, keyring, provider, redis, clock, server.public_url, client)
    finally:
        await tasks.drain(5)
        await client.aclose()
        await store.aclose()
