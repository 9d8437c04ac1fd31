"""The settings: their names, types, defaults and bounds.

Rule 1: sections are frozen, and a part of the program is handed its own section, never all of them.
Rule 2: secrets are `SecretStr`; only the part that needs one unwraps it.
Rule 3: rules that need two settings, or the outside world, are in `check.py`.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from bff.settings.provider_settings import ProviderSettings
from bff.settings.route_settings import DevelopmentPage, PlacedRoute, RouteSettings
from bff.settings.route_token_settings import MintedSettings
from bff.settings.sections import (
    ForwardAuthSettings,
    LimitSettings,
    LogSettings,
    RedisSettings,
    RefreshSettings,
    Section,
    SpaSettings,
    TelemetrySettings,
)
from bff.settings.value_types import (
    SLUG,
    Bytes,
    Network,
    Port,
    Seconds,
    SecondsOrZero,
    SomeBytes,
    parse_off,
)

__all__ = [
    "DevelopmentPage",
    "ForwardAuthSettings",
    "FrontendSettings",
    "LimitSettings",
    "LogSettings",
    "MintedSettings",
    "PlacedRoute",
    "ProviderSettings",
    "RedisSettings",
    "RefreshSettings",
    "RouteSettings",
    "Section",
    "ServerSettings",
    "SessionSettings",
    "Settings",
    "SpaSettings",
    "TelemetrySettings",
]


class ServerSettings(Section):
    """`[server]`: the addresses that the proxy listens on, and its bounds for clients."""

    public_url: str
    base_path: str = ""  # under which all paths of ours lie, as browsers see them; "" for all of the origin
    choose_provider: bool = False
    host: str = "127.0.0.1"
    port: Port = 8080
    workers: int = Field(default=1, ge=1, le=256)
    trusted_proxies: tuple[Network, ...] = ()
    ops_host: str = "127.0.0.1"
    ops_port: Annotated[Port | None, BeforeValidator(parse_off)] = 9090  # "off": no ops port
    ops_hosts: tuple[str, ...] = ()
    ready_without_redis: bool = False
    start_timeout: Seconds = 60.0
    shutdown_timeout: Seconds = 30.0
    shutdown_delay: SecondsOrZero = 0.0
    reload_interval: Annotated[Seconds, Field(ge=0.05, le=3600)] = 5.0
    watch_settings: bool = True  # False: the settings' own file is read again at SIGHUP alone
    huge_pages: bool = True  # for the heap, where the system has them
    keep_alive: Seconds = 75.0
    head_timeout: Seconds = 10.0
    body_timeout: Seconds = 30.0
    write_timeout: Seconds = 60.0
    max_head_bytes: Bytes = 32 * 1024
    max_head_fields: int = Field(default=100, ge=10)
    max_path_bytes: SomeBytes = 8 * 1024
    websocket_ping: Seconds = 20.0
    events_heartbeat: Seconds = 20.0

    def ops_names(self) -> tuple[str, ...]:
        """Host names that the ops port accepts, beside addresses and localhost."""
        return (*self.ops_hosts, self.ops_host)

    def own_path(self) -> str:
        """The path of our own endpoints, as browsers see it."""
        return self.base_path + "/bff"


class SessionSettings(Section):
    """`[session]`: the session, its cookie, and its lifetime."""

    keys: tuple[SecretStr, ...] = ()
    keys_file: Path | None = None
    idle_timeout: Seconds = 30 * 60.0
    max_lifetime: Seconds = 12 * 3600.0
    allow_long_sessions: bool = False
    max_per_user: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(parse_off)] = 100
    slide_interval: Seconds = 60.0
    ending_notice: SecondsOrZero = 120.0
    same_site: Literal["strict", "lax"] = "strict"
    device_binding: Literal["off", "offered", "required"] = "off"
    bound_cookie_lifetime: Annotated[Seconds, Field(ge=1, le=3600)] = 300.0
    bound_stream_lifetime: Annotated[Seconds | None, BeforeValidator(parse_off)] = None
    persistent_cookie: bool = False
    clear_site_data: tuple[Literal["cache", "storage"], ...] = ("cache",)
    csrf_header: str = Field(default="X-CSRF", pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    transaction_lifetime: Seconds = 10 * 60.0
    max_transactions: int = Field(default=4, ge=1, le=10)
    readable_claims: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        default=("email",), max_length=8
    )
    record_format: int = Field(default=1, ge=1, le=2)
    near_cache: bool = True
    near_cache_memory: Annotated[SomeBytes, Field(ge=1024**2)] = 64 * 1024**2


class FrontendSettings(Section):
    """`[[frontend]]`: one of several pages, with sessions of its own, at a host or a path of its own."""

    name: str = Field(pattern=SLUG)
    public_url: str  # an origin, or one with a path
    providers: tuple[str, ...] = ()  # (): all of them
    choose_provider: bool | None = None  # None: as `server.choose_provider`
    session: SessionSettings = SessionSettings()
    route: tuple[RouteSettings, ...] = ()
    spa: SpaSettings = SpaSettings()
    limits: LimitSettings = LimitSettings()


class Settings(Section):
    """All sections together; only `app.py` and the commands use this class.

    Of several providers `provider` is the first, the default.
    """

    server: ServerSettings
    redis: RedisSettings = RedisSettings()
    session: SessionSettings = SessionSettings()
    refresh: RefreshSettings = RefreshSettings()
    provider: ProviderSettings
    more_providers: tuple[ProviderSettings, ...] = Field(default=(), alias="[[provider]]")
    frontend: tuple[FrontendSettings, ...] = ()
    route: tuple[RouteSettings, ...] = ()
    spa: SpaSettings = SpaSettings()
    limits: LimitSettings = LimitSettings()
    forward_auth: ForwardAuthSettings = ForwardAuthSettings()
    minted: MintedSettings = MintedSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    def mints(self) -> bool:
        """Returns True if a route has tokens minted."""
        return any(route.token_kind() == "minted" for route in self.route)

    def minted_by(self) -> str:
        """The issuer of minted tokens."""
        server = self.server
        return self.minted.issuer or server.public_url.rstrip("/") + server.base_path

    def providers(self) -> tuple[ProviderSettings, ...]:
        """All providers, the default first."""
        return (self.provider, *self.more_providers)

    def public_routes(self) -> tuple[RouteSettings, ...]:
        """The configured routes, by the paths that browsers see."""
        base = self.server.base_path
        return tuple(PlacedRoute.of(route, base) for route in self.route) if base else self.route

    def home(self) -> str:
        """The path of the start page: under `base_path` if there is a page, else that of the origin."""
        has_page = self.spa.dir is not None or self.spa.url is not None
        return f"{self.server.base_path}/" if has_page else "/"

    def served_routes(self) -> tuple[RouteSettings, ...]:
        """The routes by their public paths, and in development all other paths to the page's own server.

        The page's route takes WebSockets too: a development server tells a page of edited files by them.
        Under a base path the server is called by the public path, as development servers expect it.
        """
        if self.spa.url is None:
            return self.public_routes()
        header = {
            "enforce": "content-security-policy",
            "report-only": "content-security-policy-report-only",
            "off": None,
        }[self.spa.development_csp]
        page = DevelopmentPage(
            path=self.server.base_path or "/",
            upstream=self.spa.url,
            strip_prefix=False,
            encoded_slashes=True,
            double_slashes=True,
            methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
            auth="none",
            html=True,
            allow_cache=True,
            websocket=True,
            csp_header=header,
            csp=self.spa.csp,
        )
        return (*self.public_routes(), page)
