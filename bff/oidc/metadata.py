"""The provider's metadata: its discovery document and its keys, read with suspicion.

Pure: a document goes in, a frozen value comes out, or `MetadataRejectedError` names its fault.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from bff.verify.jwk import key_label, public_part

SigningKey = RSAKey | ECKey | OKPKey
MIN_RSA_BITS = 2048  # RFC 7518 3.3
MAX_KEYS = 100  # a provider has a handful; each costs time to read
ENDPOINTS = (
    "authorization_endpoint", "token_endpoint", "jwks_uri", "revocation_endpoint", "end_session_endpoint",
    "userinfo_endpoint", "pushed_authorization_request_endpoint",
)  # fmt: skip
"""The endpoints that the settings can name in the discovery document's place."""

NONE: Mapping[str, str] = MappingProxyType({})


class MetadataRejectedError(ValueError):
    """The document cannot be used; the message names the member and holds no secret."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of a discovery document that the proxy goes by (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    revocation_endpoint: str | None = None
    end_session_endpoint: str | None = None
    iss_parameter_supported: bool = False  # RFC 9207 3
    pushed_authorization_endpoint: str | None = None  # RFC 9126 5
    pushed_authorization_required: bool = False
    client_assertion_algs: tuple[str, ...] = ()  # empty where it does not say
    request_object_algs: tuple[str, ...] = ()
    userinfo_endpoint: str | None = None
    introspection_endpoint: str | None = None
    ignored: tuple[str, ...] = ()  # optional endpoints that are named and cannot be used


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of a JWK Set that may verify a signature, and why each of the others may not."""

    keys: tuple[SigningKey, ...]
    dropped: tuple[str, ...] = ()


def discovery_url(issuer: str) -> str:
    """Returns the URL of the discovery document (OpenID Connect Discovery 1.0, 4.1)."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def parse_metadata(
    document: Any, issuer: str, overrides: Mapping[str, str] = NONE, *, mtls: bool = False
) -> Metadata:
    """Reads a discovery document. Its `issuer` has to be ours, character for character (RFC 9700 4.4).

    `overrides` are endpoints by the settings, which win; with `mtls` so do those that are there for clients
    with a certificate, over the others (`mtls_endpoint_aliases`, RFC 8705 5). An optional endpoint that is
    empty, relative, or plain http counts as absent, and is named in `ignored`.
    """
    if not isinstance(document, Mapping):
        raise MetadataRejectedError("the discovery document is not a JSON object")
    if (named := document.get("issuer")) != issuer:
        raise MetadataRejectedError(
            f"the discovery document names another issuer ({_shown(named)}) than the settings do ({issuer})"
        )
    aliases = document.get("mtls_endpoint_aliases") if mtls else None
    told = {**document, **(aliases if isinstance(aliases, Mapping) else NONE), **overrides}
    ignored: list[str] = []
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(told, "authorization_endpoint"),
        token_endpoint=_endpoint(told, "token_endpoint"),
        jwks_uri=_endpoint(told, "jwks_uri"),
        revocation_endpoint=_optional_endpoint(told, "revocation_endpoint", ignored),
        end_session_endpoint=_optional_endpoint(told, "end_session_endpoint", ignored),
        iss_parameter_supported=document.get("authorization_response_iss_parameter_supported") is True,
        pushed_authorization_endpoint=_optional_endpoint(
            told, "pushed_authorization_request_endpoint", ignored
        ),
        pushed_authorization_required=document.get("require_pushed_authorization_requests") is True,
        client_assertion_algs=_names(document, "token_endpoint_auth_signing_alg_values_supported"),
        request_object_algs=_names(document, "request_object_signing_alg_values_supported"),
        userinfo_endpoint=_optional_endpoint(told, "userinfo_endpoint", ignored),
        introspection_endpoint=_optional_endpoint(told, "introspection_endpoint", ignored),
        ignored=tuple(ignored),
    )


def _shown(issuer: Any) -> str:
    if not isinstance(issuer, str) or not issuer:
        return "none"
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in issuer[:200])


def parse_jwks(document: Any) -> KeySet:
    """Reads a JWK Set (RFC 7517 5) and keeps the public keys that may verify a signature.

    One key that nobody understands does not spoil the others. Symmetric keys, keys for encryption and RSA
    keys under 2048 bits are left out, so that nothing later can choose them (RFC 8725 3.1, 3.2).
    """
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise MetadataRejectedError("the key set has no usable list of keys")
    usable: list[SigningKey] = []
    dropped: list[str] = []
    for number, data in enumerate(keys, 1):
        read = _signing_key(data)
        if isinstance(read, str):
            dropped.append(f"{key_label(data, number)} {read}")
        else:
            usable.append(read)
    return KeySet(tuple(usable), tuple(dropped))


def _signing_key(data: Any) -> SigningKey | str:
    part = public_part(data)
    if isinstance(part, str):
        return part
    try:
        with warnings.catch_warnings():
            # A small RSA key is only warned about there, and refused below.
            warnings.simplefilter("ignore", SecurityWarning)
            key = JWKRegistry.import_key(part)
    except (JoseError, ValueError, TypeError, KeyError):
        return "cannot be read"
    match key:
        case RSAKey() if key.raw_value.key_size < MIN_RSA_BITS:
            return f"has fewer than {MIN_RSA_BITS} bits"
        case RSAKey() | ECKey() | OKPKey():
            return key
    return "is of a kind that is not used here"


def _endpoint(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not is_safe_url(value):
        raise MetadataRejectedError(
            f"{name} is missing, or is no https URL (http is accepted on loopback only)"
        )
    return value


def _optional_endpoint(document: Mapping[str, Any], name: str, ignored: list[str]) -> str | None:
    """The endpoint, or None; one that is named and cannot be used is added to `ignored`."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, str) and is_safe_url(value):
        return value
    ignored.append(name)
    return None


def _names(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def is_safe_url(value: str) -> bool:
    """True if secrets may be sent there: https, or http on loopback; no user, no fragment."""
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        return False
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        _ = parts.port  # raises on a port that is no number
    except ValueError:
        return False
    if not host or parts.fragment or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
