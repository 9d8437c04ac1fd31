"""The logout token of OpenID Connect Back-Channel Logout 1.0: validated before it is believed. Pure.

Rule 1: the signature comes first, as for an ID token and by the same code.
Rule 2: what an ID token has and a logout token must not have, and the other way round, is looked at: neither
passes for the other.
Rule 3: that a `jti` was not seen before is for the caller to see to; it is good for `MAX_AGE` and no longer.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bff.oidc.id_token import Claims, IdTokenRejectedError, moment, verified_claims
from bff.oidc.metadata import SigningKey

EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_AGE = 600.0
"""Seconds since `iat` for which a logout token is taken, beside the skew: it is sent at once (2.4)."""

_TYPES = ("logout+jwt", "jwt")
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


class LogoutTokenRejectedError(Exception):
    """A logout token that is not to be believed."""

    def __init__(self, reason: Reason, *, key_may_be_new: bool = False) -> None:
        """`key_may_be_new`: the key that signed it may be newer than the keys at hand."""
        super().__init__(f"logout token rejected: {reason}")
        self.reason: Reason = reason
        self.key_may_be_new = key_may_be_new


@dataclass(frozen=True, slots=True)
class ProviderLogout:
    """A sign-out that the provider tells of: with `sid` of that one sign-in, else of all of `sub`."""

    jti: str
    sub: str | None
    sid: str | None


def validate_logout_token(
    token: str,
    keys: Sequence[SigningKey],
    *,
    issuer: str,
    client_id: str,
    algs: Collection[str],
    clock_skew: float,
    now: float,
    exp_required: bool = True,
) -> ProviderLogout:
    """Checks a logout token (Back-Channel Logout 1.0, 2.6); `now` is in seconds since the epoch.

    Without `exp_required` a token may lack `exp`, as older drafts allowed: `iat` bounds its life then.

    Raises:
        LogoutTokenRejectedError: it is not to be believed.
    """
    claims = _signed(token, keys, algs)
    if claims.get("iss") != issuer:
        raise LogoutTokenRejectedError("iss")
    audience = claims.get("aud")
    if client_id not in (audience if isinstance(audience, list) else [audience]):
        raise LogoutTokenRejectedError("aud")
    _check_times(claims, clock_skew, now, exp_required=exp_required)
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(EVENT), Mapping):
        raise LogoutTokenRejectedError("events")
    if "nonce" in claims:
        raise LogoutTokenRejectedError("nonce")
    return _named(claims)


def _signed(token: str, keys: Sequence[SigningKey], algs: Collection[str]) -> Claims:
    try:
        header, claims = verified_claims(token, keys, algs)
    except IdTokenRejectedError as rejected:
        reason: Reason = "unknown_key" if rejected.reason == "unknown_key" else "signature"
        # Keys rotate; a provider that names no `kid`, or reuses one, shows it by a signature that fails.
        maybe = rejected.reason in ("unknown_key", "bad_signature")
        raise LogoutTokenRejectedError(reason, key_may_be_new=maybe) from None
    typ = header.get("typ", "jwt")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in _TYPES:
        raise LogoutTokenRejectedError("typ")
    return claims


def _check_times(claims: Claims, clock_skew: float, now: float, *, exp_required: bool) -> None:
    issued, ends = moment(claims.get("iat")), moment(claims.get("exp"))
    if issued is None or not now - MAX_AGE - clock_skew < issued <= now + clock_skew:
        raise LogoutTokenRejectedError("iat")
    if ends is None and not exp_required and "exp" not in claims:
        return
    if ends is None or ends + clock_skew <= now:
        raise LogoutTokenRejectedError("exp")


def _named(claims: Claims) -> ProviderLogout:
    jti, sub, sid = (_text(claims, name) for name in ("jti", "sub", "sid"))
    if not jti:
        raise LogoutTokenRejectedError("jti")
    if not (sub or sid) or any(name in claims and not _text(claims, name) for name in ("sub", "sid")):
        raise LogoutTokenRejectedError("subject")
    return ProviderLogout(jti, sub, sid)


def _text(claims: Claims, name: str) -> str | None:
    value: Any = claims.get(name)
    return value if isinstance(value, str) and value and value.isprintable() else None
