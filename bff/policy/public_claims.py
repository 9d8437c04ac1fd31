"""The claims of an identity that are stored and shown to a page; no others are stored."""

from collections.abc import Mapping
from typing import Any

PROTOCOL_CLAIMS = frozenset(
    {"iss", "aud", "azp", "exp", "iat", "nbf", "nonce", "jti", "sid", "typ", "at_hash", "c_hash", "s_hash"}
)
"""Claims that serve the protocol and tell a page nothing; left out unless listed in `provider.claims`."""


def public_claims(claims: Mapping[str, Any], shown: tuple[str, ...] | None) -> dict[str, Any]:
    """The claims that a page gets: those listed, or by default all but the protocol's own."""
    if shown is None:
        return {name: value for name, value in claims.items() if name not in PROTOCOL_CLAIMS}
    return {name: claims[name] for name in shown if name in claims}
