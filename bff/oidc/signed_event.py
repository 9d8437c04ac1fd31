"""Signed events: the checks that logout tokens and security event tokens have in common. Pure.

Rule 1: the signature comes first, as for an ID token and by the same code.
Rule 2: the type in the header is looked at, so that no other token of the same signer passes (RFC 8417 2.3).
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from bff.oidc.id_token import Claims, IdTokenRejectedError, moment, verified_claims
from bff.oidc.metadata import SigningKey

Reason = Literal[
    "signature",  # or no JWS, an algorithm that is not ours, a header that brings keys along
    "unknown_key",
    "typ",
    "iss",
    "aud",
    "iat",
    "exp",
    "jti",
    "events",
    "nonce",
    "subject",
]


class SignedEventRejectedError(Exception):
    """A signed event that is not to be believed."""

    def __init__(self, reason: Reason, *, key_may_be_new: bool = False) -> None:
        """`key_may_be_new`: the key that signed it may be newer than the keys at hand."""
        super().__init__(f"signed event rejected: {reason}")
        self.reason: Reason = reason
        self.key_may_be_new = key_may_be_new


def signed_claims(
    token: str, keys: Sequence[SigningKey], algs: Collection[str], types: Collection[str]
) -> Claims:
    """Returns the claims of a token that one of the keys has signed; a `typ` that is absent counts as `jwt`.

    Raises:
        SignedEventRejectedError: the signature or the type is wrong.
    """
    try:
        header, claims = verified_claims(token, keys, algs)
    except IdTokenRejectedError as rejected:
        reason: Reason = "unknown_key" if rejected.reason == "unknown_key" else "signature"
        # Keys rotate; a provider that names no `kid`, or reuses one, shows it by a signature that fails.
        maybe = rejected.reason in ("unknown_key", "bad_signature")
        raise SignedEventRejectedError(reason, key_may_be_new=maybe) from None
    typ = header.get("typ", "jwt")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in types:
        raise SignedEventRejectedError("typ")
    return claims


def stated_issuer(token: str) -> str | None:
    """Returns the issuer that a token states, which nothing proves yet; None where it states none."""
    try:
        claims: Any = json.loads(urlsafe_b64decode(token.partition(".")[2].partition(".")[0] + "=="))
    except (ValueError, RecursionError):
        return None
    return text_of(claims, "iss") if isinstance(claims, Mapping) else None


def check_parties(claims: Claims, issuer: str, audiences: Collection[str]) -> None:
    """Checks `iss`, and that one of `aud` is one of ours.

    Raises:
        SignedEventRejectedError: it is another's, or for another.
    """
    if claims.get("iss") != issuer:
        raise SignedEventRejectedError("iss")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(one, str) and one in audiences for one in named):
        raise SignedEventRejectedError("aud")


def check_times(claims: Claims, now: float, *, max_age: float, clock_skew: float, exp_required: bool) -> None:
    """Checks `iat` and `exp`; `max_age` is in seconds since `iat`, `now` in seconds since the epoch.

    Raises:
        SignedEventRejectedError: the token is too old, of the future, or over.
    """
    issued, ends = moment(claims.get("iat")), moment(claims.get("exp"))
    if issued is None or not now - max_age - clock_skew < issued <= now + clock_skew:
        raise SignedEventRejectedError("iat")
    if not exp_required and "exp" not in claims:
        return
    if ends is None or ends + clock_skew <= now:
        raise SignedEventRejectedError("exp")


def text_of(values: Mapping[str, Any], name: str) -> str | None:
    """Returns a value that is text, printable and not empty; None for all others."""
    value = values.get(name)
    return value if isinstance(value, str) and value and value.isprintable() else None
