"""The settings: their names, types, defaults and bounds.

Rule 1: sections are frozen, and a part of the program is handed its own section, never all of them.
Rule 2: secrets are `SecretStr`; only the part that needs one unwraps it.
Rule 3: rules that need two settings, or the outside world, are in `check.py`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from bff.settings.claim_rule import ClaimRule
from bff.settings.route_token import MintedSettings, RouteTokenSettings
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
from bff.settings.urls import joined
from bff.settings.values import (
    FAPI2_DEFAULTS,
    SLUG,
    TLS_METHODS,
    AcrValue,
    Auth,
    Bytes,
    ClientAuth,
    Detail,
    FieldName,
    Frequency,
    Method,
    Network,
    Port,
    Seconds,
    SecondsOrZero,
    SignalEvent,
    SomeBytes,
    Subprotocols,
    parse_auth,
    parse_off,
    parse_words,
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
    shutdown_timeout: Seconds = 30.0
    shutdown_delay: SecondsOrZero = 0.0
    reload_interval: Annotated[Seconds, Field(ge=0.05, le=3600)] = 5.0
    watch_settings: bool = True  # False: the settings' own file is read again at SIGHUP alone
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
    near_cache: bool = True
    near_cache_memory: Annotated[SomeBytes, Field(ge=1024**2)] = 64 * 1024**2


def _has_profile(data: Any) -> bool:
    return isinstance(data, dict) and data.get("profile") == "fapi2"


class ProviderSettings(Section):
    """`[provider]`: the OpenID Provider that users sign in at."""

    name: str = Field(default="main", pattern=SLUG)
    title: str | None = Field(default=None, min_length=1, max_length=80)  # None: its name
    callback: Literal["shared", "own"] | None = None  # None: "own" where there is a choice
    issuer: str
    profile: Literal["none", "fapi2"] = "none"
    discovery_url: str | None = None  # None: issuer + /.well-known/openid-configuration
    authorization_endpoint: str | None = None  # these win over the discovery document's
    token_endpoint: str | None = None
    jwks_uri: str | None = None
    revocation_endpoint: str | None = None
    end_session_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    pushed_authorization_request_endpoint: str | None = None
    userinfo: Literal["auto", "always", "never"] = "auto"
    allow: ClaimRule | None = None  # None: everybody who has an account there
    acr_required: tuple[str, ...] = ()
    logout_exp: Literal["required", "optional"] = "required"
    frontchannel_logout: bool = False
    signals_issuer: str | None = None  # None: no receiver of Shared Signals
    signals_jwks_uri: str | None = None  # None: by the transmitter's configuration
    signals_audience: tuple[str, ...] = ()  # (): client_id
    signals_events: tuple[SignalEvent, ...] = get_args(SignalEvent)
    client_id: str
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    client_auth: ClientAuth = "client_secret_basic"
    client_key: SecretStr | None = None  # private, in PEM or as a JWK
    client_key_file: Path | None = None
    client_cert_file: Path | None = None
    client_cert_key_file: Path | None = None  # None: the key is in client_cert_file
    token_binding: Literal["none", "dpop", "mtls"] = "none"  # noqa: S105 - a way, and no password
    dpop_alg: Literal["ES256", "EdDSA"] = "ES256"  # of the keys that tokens are bound to
    client_key_id: str | None = None  # None: the JWK's own `kid`, else the RFC 7638 thumbprint
    client_assertion_aud: Literal["issuer", "token_endpoint"] = "issuer"
    par: Literal["auto", "always", "never"] = "auto"
    request_object: bool = False
    resource: tuple[str, ...] = ()
    authorization_details: tuple[Detail, ...] = ()
    login_authorization_details: dict[str, tuple[Detail, ...]] = Field(default_factory=dict)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    login_params: tuple[str, ...] = ("prompt", "login_hint", "acr_values", "max_age", "ui_locales")
    extra_params: dict[str, str] = Field(default_factory=dict)
    id_token_algs: tuple[str, ...] = ("RS256", "ES256", "PS256", "EdDSA")
    clock_skew: Annotated[SecondsOrZero, Field(le=300)] = 30.0
    refresh_token_lifetime: Seconds | None = None
    end_session_hint: bool = True
    post_logout_path: str = "/"
    claims: tuple[str, ...] | None = None  # None: all but those that belong to the protocol
    ca_file: Path | None = None
    proxy: SecretStr | None = None  # a URL, which may hold a password, or "environment"; None: no proxy
    timeout: Seconds = 10.0
    max_token_calls: int = Field(default=20, ge=1, le=1000)
    metadata_lifetime: Seconds = 3600.0

    @model_validator(mode="before")
    @classmethod
    def _by_profile(cls, data: Any) -> Any:
        """Puts the profile's defaults in place of the general ones."""
        return {**FAPI2_DEFAULTS, **data} if _has_profile(data) else data

    def detail_types(self) -> tuple[str, ...]:
        """The types of all authorization details (RFC 9396) that a sign-in may ask for."""
        sets = (self.authorization_details, *self.login_authorization_details.values())
        return tuple(dict.fromkeys(str(each["type"]) for details in sets for each in details))

    def over_mtls(self) -> bool:
        """Returns True if the provider authenticates the client, or binds its tokens, by its certificate."""
        return self.client_auth in TLS_METHODS or self.token_binding == "mtls"  # noqa: S105 - a way

    def over_dpop(self) -> bool:
        """Returns True if the provider binds tokens to a key of each session (RFC 9449)."""
        return self.token_binding == "dpop"  # noqa: S105 - a way, and no password


class RouteSettings(RouteTokenSettings):
    """`[[route]]`: one backend, and the calls that may pass to it."""

    path: str
    upstream: str
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    server_name: str | None = None
    strip_prefix: bool = True
    encoded_slashes: bool = False
    double_slashes: bool = False
    methods: tuple[Method, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    auth: Annotated[Auth, BeforeValidator(parse_auth)] = "required"
    allow: ClaimRule | None = None  # None: everybody who is signed in
    acr: Annotated[tuple[AcrValue, ...], BeforeValidator(parse_words)] = ()  # of which the sign-in has one
    max_age: Annotated[Seconds, Field(ge=1)] | None = None  # of the sign-in; None: any
    bound: bool = False  # True: for sessions that are bound to a device alone
    headers: dict[FieldName, str] = Field(default_factory=dict)  # names, and the claims that they tell
    csrf: Literal["header", "navigation"] = "header"
    refresh_on_401: Literal["any", "invalid_token", "never"] = "any"
    keep_cookies: bool = False
    map_cookies: bool = True
    map_locations: bool = True
    forwarded_prefix: bool = True
    challenges: tuple[FieldName, ...] = ("Bearer", "DPoP")
    pass_request_headers: tuple[FieldName, ...] = ()
    pass_response_headers: tuple[FieldName, ...] = ()
    html: bool = False
    allow_cache: bool = False
    max_body: Bytes = 64 * 1024**2
    replay_buffer: Bytes = 64 * 1024
    body_min_rate: Bytes = 500
    body_rate_window: Seconds = 30.0
    body_total_timeout: Seconds = 3600.0
    rate_per_session: Frequency | None = None
    rate_per_address: Frequency | None = None
    max_connections: int = Field(default=100, ge=1)
    max_streams: int = Field(default=1000, ge=1)
    connect_timeout: Seconds = 5.0
    queue_timeout: Seconds = 5.0
    max_answer_head: Annotated[SomeBytes, Field(ge=16 * 1024, le=16 * 1024**2)] = 64 * 1024
    max_answer_fields: int = Field(default=200, ge=100, le=10_000)
    write_timeout: Seconds = 60.0
    expect: bool = True
    expect_wait: SecondsOrZero = 1.0
    response_timeout: Seconds = 60.0
    idle_timeout: Seconds = 300.0
    total_timeout: Seconds | None = None
    websocket: bool = False
    websocket_drop_subprotocols: tuple[Subprotocols, ...] = ()
    websocket_max_message: SomeBytes = 1024**2
    websocket_max_sockets: int = Field(default=20, ge=1)

    def takes_bearer(self) -> bool:
        """Returns True if a client's own bearer token serves in place of a session."""
        return self.auth == "session or bearer"

    def requires_session(self) -> bool:
        """Returns True if a call without a session, and without a bearer token of its own, is refused."""
        return self.auth == "required" or self.takes_bearer()

    def cut_prefix(self) -> str:
        """The part of a public path that the backend does not see, to be told to it."""
        return self.path.rstrip("/") if self.strip_prefix else ""


class PlacedRoute(RouteSettings):
    """A route under `server.base_path`: `path` is the public one, and all of it is stripped."""

    told_prefix: str

    @classmethod
    def of(cls, route: RouteSettings, base_path: str) -> "PlacedRoute":
        """Returns the route under a base path that its backend does not see."""
        upstream = route.upstream if route.strip_prefix else joined(route.upstream, route.path)
        values = {
            **dict(route),
            "path": base_path + route.path,
            "upstream": upstream,
            "strip_prefix": True,
            "told_prefix": base_path + route.cut_prefix(),
        }
        return cls.model_construct(**values)

    def cut_prefix(self) -> str:
        """The part of a public path that the backend does not see, to be told to it."""
        return self.told_prefix


class DevelopmentPage(RouteSettings):
    """The route of a development server's page, which nobody configures: `Settings.served_routes` makes it.

    `csp_header` is the name of the field that carries `csp`; None for neither.
    """

    csp_header: str | None = None
    csp: str = ""


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
