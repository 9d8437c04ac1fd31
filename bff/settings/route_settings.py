"""The settings of one route; `route_check.py` and `token_check.py` have the rules about them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bff.settings.claim_rule import ClaimRule
from bff.settings.route_token_settings import RouteTokenSettings
from bff.settings.url_parts import joined
from bff.settings.value_types import (
    AcrValue,
    Auth,
    Bytes,
    FieldName,
    Frequency,
    Method,
    Seconds,
    SecondsOrZero,
    SomeBytes,
    Subprotocols,
    parse_auth,
    parse_words,
)


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
