"""The whole proxy on real sockets: redis-server, issuer, a scripted backend, and a browserless client."""

import asyncio
import math
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import httpx
import uvicorn
from starlette.types import ASGIApp

from bff.app import App
from bff.crypto import new_secret, session_key
from bff.embedded import free_port
from bff.issuer.keys.keys import SigningKey
from bff.policy.frontend_table import hosts_of
from bff.serve.uvicorn_config import client_protocol, websocket_options
from bff.settings.frontends import all_routes
from bff.settings.model import Settings
from bff.tasks import Tasks
from tests.support.conformance import hold
from tests.support.network.backend import Backend, Received, Reply, backend
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import ALICE, RunningIssuer, async_sign_in_at, running_issuer
from tests.support.settings import PATIENCE, WAITS

STOCK = {"http": "httptools", "ws": "websockets-sansio"}
"""The options of a uvicorn that knows nothing of ours."""
UVICORN: dict[str, Any] = {}  # the options of `uvicorn.Config` that a fixture wants otherwise
SESSION_NAMES = ("bff", "__Host-Http-bff")
_IS_SESSION = re.compile(r"(__Host-Http-)?bff(\.(?!.*\.\.)[\w.-]+)?")
CSRF = {"X-CSRF": "1", "Sec-Fetch-Site": "same-origin"}
JSON = (b"content-type", b"application/json")
NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
_REFRESH = re.compile(r"0; url=(/\S+)")


class Clock:
    """The proxy's clock, which a test can put forward, or stop."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._stopped_at: float | None = None

    def stop(self) -> None:
        self._stopped_at = time.time()

    def __call__(self) -> float:
        return (self._stopped_at or time.time()) + self.ahead


class Browser:
    """A client that keeps cookies and follows redirects as a browser does, and remembers every answer."""

    def __init__(
        self,
        url: str,
        address: str = "127.0.0.1",
        verify: ssl.SSLContext | bool = True,
        *,
        http2: bool = False,
    ) -> None:
        transport = httpx.AsyncHTTPTransport(local_address=address, verify=verify, http2=http2)
        self.client = httpx.AsyncClient(base_url=url, transport=transport, timeout=60)
        self.answers: list[httpx.Response] = []
        self.client.event_hooks["response"].append(self._remember)

    async def _remember(self, response: httpx.Response) -> None:
        await response.aread()
        self.answers.append(response)
        hold(response)

    async def follow(self, response: httpx.Response) -> httpx.Response:
        """Follows redirects and the callback's `Refresh` until a page comes that stays."""
        for _ in range(20):
            refresh = _REFRESH.match(response.headers.get("refresh", ""))
            if refresh:
                response = await self.client.get(str(response.url.join(refresh[1])))
            elif response.has_redirect_location:
                target = response.url.join(response.headers["location"])
                response = await self.client.get(str(target))
            else:
                return response
        raise AssertionError("redirected in circles")

    async def sign_in(
        self,
        who: tuple[str, str] = ALICE,
        return_to: str = "/",
        base_path: str = "",
        provider: str | None = None,
    ) -> httpx.Response:
        """Goes through the whole sign-in, at the default provider or another; returns the page at its end."""
        login = f"{base_path}/bff/login?return_to={quote(return_to)}"
        if provider is not None:
            login += f"&provider={provider}"
        page = await self.follow(await self.client.get(login))
        if "password" in page.text:
            page = await self.follow(await async_sign_in_at(page, self.client, who))
        return page

    async def call(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        """Calls as the page's script does."""
        headers = {**CSRF, **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def user(self) -> httpx.Response:
        return await self.call("/bff/user?slide=false")

    @property
    def handle(self) -> str | None:
        """The session cookie's value."""
        return next(
            (each.value for each in self.client.cookies.jar if _IS_SESSION.fullmatch(each.name)), None
        )

    @property
    def session_key(self) -> str:
        """The Redis key of the browser's session."""
        assert self.handle is not None
        return f"bff:session:{session_key(self.handle)}"


@dataclass
class World:
    """The proxy, its provider, backend and Redis, of one test."""

    redis: RedisServer
    issuer: RunningIssuer
    backend: Backend
    app: App
    url: str
    port: int  # of the proxy itself, on 127.0.0.1
    clock: Clock
    stack: AsyncExitStack
    proxy: AsyncExitStack
    server: uvicorn.Server
    verify: ssl.SSLContext | bool = True
    reply: Callable[[Received], Awaitable[Reply | bytes | None]] | None = None
    browsers: list[Browser] = field(default_factory=list)
    others: Mapping[str, RunningIssuer] = field(default_factory=dict)  # by the provider's name

    async def browser(self, address: str = "127.0.0.1", *, http2: bool = False) -> Browser:
        """A new browser, with nothing in it; with `http2` it offers that where there is TLS."""
        browser = Browser(self.url, address, self.verify, http2=http2)
        await self.stack.enter_async_context(browser.client)
        self.browsers.append(browser)
        return browser

    async def signed_in(self) -> Browser:
        """A browser in which alice is signed in."""
        browser = await self.browser()
        await browser.sign_in()
        assert browser.handle is not None
        return browser

    async def stop_proxy(self) -> None:
        """Stops the proxy as a signal would, and waits until it has."""
        await self.proxy.aclose()

    @property
    def refreshes(self) -> int:
        """The number of refresh tokens sent to the provider."""
        return self.issuer.seen.token_calls["refresh_token"]


@asynccontextmanager
async def serving(
    app: App, port: int, host: ASGIApp | None = None, **uvicorn_options: Any
) -> AsyncIterator[uvicorn.Server]:
    """Serves the proxy on a loopback port, by the server protocol, on the test's own loop.

    With a `host` that is served in its place, as by stock uvicorn.
    """
    tasks = Tasks()
    sock = socket.create_server(("127.0.0.1", port))
    options = websocket_options(app.settings.server, all_routes(app.settings))
    config = uvicorn.Config(
        host or app,
        **{
            "lifespan": "on",
            "timeout_keep_alive": math.ceil(app.settings.server.keep_alive),
            "http": client_protocol(
                app.settings.server,
                asking_hosts=app.settings.forward_auth.hosts,
                hosts=hosts_of(app.settings),
            ),
            **options,
            **(STOCK if host is not None else UVICORN),
            **uvicorn_options,
        },
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    running = tasks.spawn(server._serve([sock]), name="server")
    while not server.started:
        assert not running.done(), running.exception()
        await asyncio.sleep(0.002)
    try:
        yield server
    finally:
        server.should_exit = True
        await running
        sock.close()


@asynccontextmanager
async def running_world(
    redis: RedisServer,
    /,
    *,
    access_token_lifetime: float = 300,
    route: dict[str, Any] | None = None,
    routes: Sequence[Mapping[str, Any]] = (),
    public_url: str | None = None,
    port: int | None = None,
    issuer_key: SigningKey | None = None,
    told_of_logouts: bool = False,
    client: Mapping[str, Any] | None = None,
    host: Callable[[Settings, str], ASGIApp] | None = None,
    uvicorn_options: Mapping[str, Any] | None = None,
    also_at: Sequence[str] = (),
    others: Mapping[str, Mapping[str, Any]] = NOTHING,
    frontends: Sequence[Mapping[str, Any]] = (),
    **sections: dict[str, Any],
) -> AsyncIterator[World]:
    """Starts all parts.

    `route` changes the route `/api`, and `routes` stand beside it, to the same backend if they name none;
    `client` changes how the issuers know the proxy, `sections` its settings. With `told_of_logouts` the
    issuer tells the proxy of sign-outs by the back channel. `host` makes an application that holds the
    proxy, of settings and the backend's URL; `app` is not used then. `also_at` are base paths of proxies
    beside the one of the settings. `others` are further providers, each an issuer of its own, with the
    settings that they have beside its address and client; `frontends` are those beside the server's own. With
    a `public_url` browsers go there, and a test has to bring them to `World.port` (`port`, where that is
    given).
    """
    port = port or free_port()
    url = public_url or f"http://localhost:{port}"
    base = sections.get("server", {}).get("base_path", "")
    async with AsyncExitStack() as stack:
        issuer = stack.enter_context(
            running_issuer(
                redis.url,
                [
                    *(f"{url}{path}/bff/callback" for path in (base, *also_at)),
                    f"{url}{base}/bff/callback/main",
                    *(f"{each['public_url']}/bff/callback" for each in frontends),
                ],
                post_logout_redirect_uris=[f"{url}/"],
                backchannel_logout_uri=f"{url}{base}/bff/backchannel-logout" if told_of_logouts else None,
                access_token_lifetime=access_token_lifetime,
                key=issuer_key,
                client=client,
            )
        )
        beside = {
            name: stack.enter_context(
                running_issuer(
                    f"{redis.url.rpartition('/')[0]}/{number}",
                    [f"{url}{base}/bff/callback/{name}"],
                    post_logout_redirect_uris=[f"{url}/"],
                    backchannel_logout_uri=f"{url}{base}/bff/backchannel-logout" if told_of_logouts else None,
                    client=client,
                    host="127.0.0.1",  # another one for the browser, which keeps cookies by host
                )
            )
            for number, name in enumerate(others, start=1)
        }
        worlds: list[World] = []

        async def answer(request: Received) -> Reply | bytes | None:
            reply = worlds[0].reply
            return await reply(request) if reply else Reply(body=b'{"orders":[]}', headers=[JSON])

        upstream = await stack.enter_async_context(backend(answer))
        settings = Settings.model_validate(
            {
                "server": {"public_url": url, "ops_port": None, **sections.get("server", {})},
                "redis": {"url": redis.url, "timeout": PATIENCE, **sections.get("redis", {})},
                "session": {"keys": [new_secret()], **sections.get("session", {})},
                "refresh": {"min_age_for_401": 0, **sections.get("refresh", {})},
                "provider": {
                    "issuer": issuer.url,
                    "client_id": issuer.client_id,
                    "scopes": ["openid", "profile", "offline_access"],
                    "client_secret": issuer.client_secret,
                    **sections.get("provider", {}),
                },
                "[[provider]]": [
                    {
                        "name": name,
                        "issuer": each.url,
                        "client_id": each.client_id,
                        "scopes": ["openid", "profile", "offline_access"],
                        "client_secret": each.client_secret,
                        **others[name],
                    }
                    for name, each in beside.items()
                ],
                "route": [
                    {"path": "/api", "upstream": upstream.url, **WAITS, **(route or {})},
                    *({"upstream": upstream.url, **WAITS, **each} for each in routes),
                ],
                "frontend": list(frontends),
                "limits": {
                    "login_per_minute": 1000,
                    "callback_per_minute": 1000,
                    "address_per_minute": 10_000,
                    "timeout": PATIENCE,
                    **sections.get("limits", {}),
                },
                "log": sections.get("log", {}),
                "spa": sections.get("spa", {}),
                "forward_auth": sections.get("forward_auth", {}),
                "telemetry": sections.get("telemetry", {}),
            }
        )
        clock = Clock()
        app = App(settings, clock=clock)
        proxy = await stack.enter_async_context(AsyncExitStack())
        server = await proxy.enter_async_context(
            serving(app, port, host and host(settings, upstream.url), **(uvicorn_options or {}))
        )
        world = World(redis, issuer, upstream, app, url, port, clock, stack, proxy, server, others=beside)
        worlds.append(world)
        yield world
