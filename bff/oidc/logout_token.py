"""The logout token of OpenID Connect Back-Channel Logout 1.0: validated before it is believed. Pure.

Rule 1: the signature comes first, as for an ID token and by the same code.
Rule 2: what an ID token has and a logout token must not have, and the other way round, is looked at: neither
passes for the other.
Rule 3: that a `jti` was not seen before is for the caller to see to; it is good for `MAX_AGE` and no longer.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bff.oidc.id_token import Claims
from bff.oidc.metadata import SigningKey
from bff.oidc.signed_event import (
    SignedEventRejectedError,
    check_parties,
    check_times,
    signed_claims,
    text_of,
)

EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_AGE = 600.0
"""Seconds since `iat` for which a logout token is taken, beside the skew: it is sent at once (2.4)."""

_TYPES = ("logout+jwt", "jwt")


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
        SignedEventRejectedError: it is not to be believed.
    """
    claims = signed_claims(token, keys, algs, _TYPES)
    check_parties(claims, issuer, (client_id,))
    check_times(claims, now, max_age=MAX_AGE, clock_skew=clock_skew, exp_required=exp_required)
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(EVENT), Mapping):
        raise SignedEventRejectedError("events")
    if "nonce" in claims:
        raise SignedEventRejectedError("nonce")
    return _named(claims)


def _named(claims: Claims) -> ProviderLogout:
    jti, sub, sid = (text_of(claims, name) for name in ("jti", "sub", "sid"))
    if not jti:
        raise SignedEventRejectedError("jti")
    if not (sub or sid) or any(name in claims and not text_of(claims, name) for name in ("sub", "sid")):
        raise SignedEventRejectedError("subject")
    return ProviderLogout(jti, sub, sid)
