"""What the provider publishes about itself: its discovery document and its keys, read with suspicion.

Pure: a document goes in, a frozen value comes out, or `MetadataRejectedError` says what is wrong with it.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

SigningKey = RSAKey | ECKey | OKPKey
MIN_RSA_BITS = 2048  # RFC 7518 3.3
MAX_KEYS = 100  # a provider has a handful; each costs time to read


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


def discovery_url(issuer: str) -> str:
    """Where the discovery document is (OpenID Connect Discovery 1.0, 4.1)."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def parse_metadata(document: Any, issuer: str) -> Metadata:
    """Reads a discovery document. Its `issuer` has to be ours, character for character (RFC 9700 4.4)."""
    if not isinstance(document, Mapping):
        raise MetadataRejectedError("the discovery document is not a JSON object")
    if document.get("issuer") != issuer:
        raise MetadataRejectedError("the discovery document names another issuer than the settings do")
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(document, "authorization_endpoint"),
        token_endpoint=_endpoint(document, "token_endpoint"),
        jwks_uri=_endpoint(document, "jwks_uri"),
        revocation_endpoint=_optional_endpoint(document, "revocation_endpoint"),
        end_session_endpoint=_optional_endpoint(document, "end_session_endpoint"),
        iss_parameter_supported=document.get("authorization_response_iss_parameter_supported") is True,
        pushed_authorization_endpoint=_optional_endpoint(document, "pushed_authorization_request_endpoint"),
        pushed_authorization_required=document.get("require_pushed_authorization_requests") is True,
        client_assertion_algs=_names(document, "token_endpoint_auth_signing_alg_values_supported"),
    )


def parse_jwks(document: Any) -> tuple[SigningKey, ...]:
    """Reads a JWK Set (RFC 7517 5) and keeps the public keys that may verify a signature.

    One key that nobody understands does not spoil the others. Symmetric keys, keys for encryption and RSA
    keys under 2048 bits are left out, so that nothing later can choose them (RFC 8725 3.1, 3.2).
    """
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise MetadataRejectedError("the key set has no usable list of keys")
    read = (_signing_key(data) for data in keys)
    return tuple(key for key in read if key is not None)


def _signing_key(data: Any) -> SigningKey | None:
    # A private key (`d`) is not even read: finding the primes of a large one takes seconds.
    if not isinstance(data, dict) or data.get("use", "sig") != "sig" or "d" in data:
        return None
    operations = data.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        with warnings.catch_warnings():
            # A small RSA key is only warned about there, and refused below.
            warnings.simplefilter("ignore", SecurityWarning)
            key = JWKRegistry.import_key(data)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    match key:
        case RSAKey() if key.raw_value.key_size >= MIN_RSA_BITS:
            return key
        case ECKey() | OKPKey():
            return key
    return None


def _endpoint(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not _is_safe_url(value):
        raise MetadataRejectedError(
            f"{name} is missing, or is no https URL (http is accepted on loopback only)"
        )
    return value


def _optional_endpoint(document: Mapping[str, Any], name: str) -> str | None:
    return None if document.get(name) is None else _endpoint(document, name)


def _names(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _is_safe_url(value: str) -> bool:
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
