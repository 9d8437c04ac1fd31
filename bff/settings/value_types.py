"""The types of single settings: durations, sizes, rates, ports, names."""

import json
import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {
    "": 1,
    "b": 1,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
}
_MOST_TIMES = 1_000_000


def _check_detail(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("type"), str) or not value["type"]:
        raise ValueError("has no type (RFC 9396 2)")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("holds what JSON cannot say, such as a date") from None
    return value


SLUG = r"^[a-z0-9][a-z0-9-]{0,31}$"
"""The form of names that become parts of keys, paths and labels."""


Auth = Literal["required", "optional", "none", "session or bearer"]
"""The sign-in that a route asks for."""

ClientAuth = Literal[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
]
"""The ways in which a client authenticates at the provider (RFC 6749 2.3, RFC 7523, RFC 8705 2)."""

TLS_METHODS = frozenset({"tls_client_auth", "self_signed_tls_client_auth"})
"""The ways that use the client's certificate."""

FAPI2_AUTH = ("private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth")
"""The client authentication of FAPI 2.0 (5.3.3.1)."""

FAPI2_ALGS = ("PS256", "ES256", "EdDSA", "Ed25519")
"""The signature algorithms of FAPI 2.0 (5.4.1)."""

FAPI2_DEFAULTS = {
    "client_auth": "private_key_jwt",
    "token_binding": "dpop",
    "par": "always",
    "id_token_algs": ("PS256", "ES256", "EdDSA"),
}
"""The defaults of `[provider]` with `profile = "fapi2"`, in place of the general ones."""

Detail = Annotated[dict[str, Any], AfterValidator(_check_detail)]
"""One of the authorization details (RFC 9396 2): a table with its type."""

SignalEvent = Literal[
    "session-revoked",
    "credential-change",
    "account-disabled",
    "account-purged",
    "credential-compromise",
    "sessions-revoked",
]
"""The events of Shared Signals that can end sessions: two of CAEP, the others of RISC."""


def parse_duration(value: Any) -> Any:
    """Turns "90s", "30m", "12h", "7d", "250ms" or a plain number into seconds."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", value)
        if found is None:
            raise ValueError('not a duration: write it like "30s", "15m", "12h" or "7d"')
        return float(found[1]) * _UNITS[found[2] or "s"]
    return value


def parse_size(value: Any) -> Any:
    """Turns "64KiB", "10MiB" or a plain number into bytes."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", value)
        if found is None or found[2].lower() not in _SIZES:
            raise ValueError('not a size: write it like "64KiB" or "10MiB"')
        return int(found[1]) * _SIZES[found[2].lower()]
    return value


def parse_off(value: Any) -> Any:
    """Turns "off" into None, which TOML cannot say."""
    return None if value == "off" else value


def parse_auth(value: Any) -> Any:
    """Turns "session", the other name of "required", into that."""
    return "required" if value == "session" else value


def parse_words(value: Any) -> Any:
    """Turns one text into a list of one."""
    return [value] if isinstance(value, str) else value


class Rate(NamedTuple):
    """A number of times within a number of seconds."""

    times: int
    seconds: float


def parse_rate(value: Any) -> Any:
    """Turns "600/m", "20/s" or "5/10m" into a `Rate`."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9}(?:\.\d+)?)?\s*(s|m|h|d)\s*", value)
        if found is None:
            raise ValueError('not a rate: write it like "20/s", "600/m" or "5/10m"')
        return Rate(int(found[1]), float(found[2] or 1) * _UNITS[found[3]])
    return value


def _check_rate(rate: Rate) -> Rate:
    if not 1 <= rate.times <= _MOST_TIMES or not 1 <= rate.seconds <= _UNITS["d"]:
        raise ValueError("a rate is 1 to 1,000,000 times within 1 second to 1 day")
    return rate


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False)]
Frequency = Annotated[Rate, BeforeValidator(parse_rate), AfterValidator(_check_rate)]
Bytes = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
SomeBytes = Annotated[int, BeforeValidator(parse_size), Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
METHOD = r"^[A-Z]+(-[A-Z]+)*$"
Method = Annotated[str, Field(pattern=METHOD)]
AcrValue = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$", max_length=256)]
FieldName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")]
Subprotocols = Annotated[
    str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+(, ?[!#$%&'*+.^_`|~0-9A-Za-z-]+)*$", max_length=1024)
]
Network = IPv4Network | IPv6Network
