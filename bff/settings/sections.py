"""The smaller sections of the settings, each of which stands by itself; `model.py` has the rules."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from bff.settings.value_types import Seconds, SecondsOrZero


class Section(BaseModel):
    """A frozen part of the settings; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RedisSettings(Section):
    """`[redis]`: the store of the sessions."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")  # a secret: it may hold a password
    prefix: str = Field(default="bff", pattern=r"^[A-Za-z0-9_.-]{1,32}$")
    timeout: Seconds = 2.0
    max_connections: int = Field(default=50, ge=1)
    wait_for_replicas: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    wait_timeout: Seconds = 0.2


class RefreshSettings(Section):
    """`[refresh]`: the times of a rotation of tokens."""

    leeway: Seconds = 30.0
    min_age_for_401: SecondsOrZero = 30.0
    timeout: Seconds = 15.0
    answer_timeout: Seconds = 300.0
    grace: SecondsOrZero = 30.0


class SpaSettings(Section):
    """`[spa]`: the page itself, from a folder or from a development server."""

    dir: Path | None = None
    url: str | None = None
    index: str = "index.html"
    immutable: tuple[str, ...] | None = None  # None: found by the index
    csp: str = (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    development_csp: Literal["report-only", "enforce", "off"] = "report-only"
    error_page: str | None = None  # None: a small page of our own
    auth: Literal["none", "required"] = "none"
    public: tuple[str, ...] = ()  # with `auth`: the files that need no session


class LimitSettings(Section):
    """`[limits]`: bounds for one browser, session or address: calls per minute, and calls at once."""

    login_per_minute: int = Field(default=60, ge=1)
    callback_per_minute: int = Field(default=60, ge=1)
    refresh_per_minute: int = Field(default=30, ge=1)
    device_per_minute: int = Field(default=300, ge=1)
    address_per_minute: int = Field(default=600, ge=1)
    timeout: Seconds = 0.25
    calls_per_session: int = Field(default=256, ge=1)
    calls_per_address: int = Field(default=4096, ge=1)
    streams_per_session: int = Field(default=20, ge=1)
    streams_per_address: int = Field(default=4096, ge=1)
    events_per_session: int = Field(default=20, ge=0)
    events_per_process: int = Field(default=10_000, ge=0)


class ForwardAuthSettings(Section):
    """`[forward_auth]`: the reverse proxies that may ask for tokens; none without secrets."""

    secrets: tuple[SecretStr, ...] = ()
    secrets_file: Path | None = None
    hosts: tuple[str, ...] = ()


class LogSettings(Section):
    """`[log]`: level, format and destinations of the logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    access: bool = True
    audit: Literal["stderr", "syslog"] | Path = "stderr"


class TelemetrySettings(Section):
    """`[telemetry]`: traces and metrics by OpenTelemetry; the `OTEL_*` variables name the collector."""

    opentelemetry: Literal["auto", "on", "off"] = "auto"
