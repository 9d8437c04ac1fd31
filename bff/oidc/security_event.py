"""The security event token of OpenID Shared Signals: validated before it is believed. Pure.

Rule 1: the signature comes first, as for an ID token and by the same code; the type in the header has to be
`secevent+jwt`, so that no other token of the same signer passes (RFC 8417 2.3).
Rule 2: an event that is not understood is no error: a transmitter may send what nobody asked for.
Rule 3: that a `jti` was not seen before is for the caller to see to; a token is good for `MAX_AGE` and no
longer.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bff.oidc.metadata import SigningKey
from bff.oidc.signed_event import (
    SignedEventRejectedError,
    check_parties,
    check_times,
    signed_claims,
    text_of,
)
from bff.settings.value_types import SignalEvent

MAX_AGE: Final = 24 * 3600.0
"""Seconds since `iat` for which a token is taken, beside the skew: transmitters try again for hours."""

_EVENTS: Final = "https://schemas.openid.net/secevent/"
_BY_URI: Final[Mapping[str, SignalEvent]] = {
    f"{_EVENTS}caep/event-type/session-revoked": "session-revoked",
    f"{_EVENTS}caep/event-type/credential-change": "credential-change",
    f"{_EVENTS}risc/event-type/account-disabled": "account-disabled",
    f"{_EVENTS}risc/event-type/account-purged": "account-purged",
    f"{_EVENTS}risc/event-type/credential-compromise": "credential-compromise",
    f"{_EVENTS}risc/event-type/sessions-revoked": "sessions-revoked",
}
_TYPES: Final = ("secevent+jwt",)
VERIFICATION: Final = f"{_EVENTS}ssf/event-type/verification"

Ignored = Literal["verification", "event", "subject", "credential_added"]
"""verification: asked for by an operator. event: none that ends sessions. subject: nobody we could know."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A believed event. `ignored` says why it ends nothing; else `sub`, `sid` or both are there."""

    jti: str
    event: str
    ignored: Ignored | None = None
    sub: str | None = None
    sid: str | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """The values that a token has to agree with.

    `provider` is the issuer that subjects of the format `iss_sub` have to name: whose users ours are.
    """

    issuer: str
    audiences: Collection[str]
    provider: str
    algs: Collection[str]
    clock_skew: float


def validate_security_event(token: str, keys: Sequence[SigningKey], expected: Expected, now: float) -> Signal:
    """Checks a security event token (RFC 8417 2.2, SSF 1.0); `now` is in seconds since the epoch.

    Raises:
        SignedEventRejectedError: it is not to be believed.
    """
    claims = signed_claims(token, keys, expected.algs, _TYPES)
    check_parties(claims, expected.issuer, expected.audiences)
    # SSF has no `exp`; where one stands it is kept to.
    check_times(claims, now, max_age=MAX_AGE, clock_skew=expected.clock_skew, exp_required=False)
    jti, events = text_of(claims, "jti"), claims.get("events")
    if jti is None:
        raise SignedEventRejectedError("jti")
    if not isinstance(events, Mapping) or len(events) != 1:
        raise SignedEventRejectedError("events")
    ((uri, payload),) = events.items()
    if not isinstance(payload, Mapping):
        raise SignedEventRejectedError("events")
    return _read(jti, uri, payload, claims.get("sub_id", payload.get("subject")), expected.provider)


def _read(jti: str, uri: str, payload: Mapping[str, Any], subject: Any, provider: str) -> Signal:
    event = _BY_URI.get(uri)
    if event is None:
        return Signal(jti, uri, "verification" if uri == VERIFICATION else "event")
    if event == "credential-change" and payload.get("change_type") == "create":
        return Signal(jti, event, "credential_added")  # a new passkey is no reason to sign its owner out
    sub, sid = _named(subject, provider, sessions=event == "session-revoked")
    if sub is None and sid is None:
        return Signal(jti, event, "subject")
    return Signal(jti, event, None, sub, sid)


def _named(subject: Any, provider: str, *, sessions: bool) -> tuple[str | None, str | None]:
    """Returns the `sub` and the `sid` that a subject means (RFC 9493, SSF 1.0 3.1), or None for each."""
    if not isinstance(subject, Mapping):
        return None, None
    if subject.get("format", "complex") == "complex" and ("user" in subject or "session" in subject):
        user, session = subject.get("user"), subject.get("session")
        sub = _sub(user, provider)
        if user is not None and sub is None:
            return None, None  # somebody whom we cannot tell: never all that share a part with them
        # A session that cannot be read is one of the user's: all of them end (CAEP 1.0 3.1, the safe side).
        return sub, _opaque(session) if sessions else None
    return _sub(subject, provider), None


def _sub(subject: Any, provider: str) -> str | None:
    """The `sub` that a simple subject means, or the first of several that are one person."""
    if not isinstance(subject, Mapping):
        return None
    # RISC's drafts said `subject_type`, with a hyphen; some transmitters do still.
    kind = str(subject.get("format", subject.get("subject_type"))).replace("-", "_")
    if kind == "aliases":
        several = subject.get("identifiers")
        simple = [one for one in several if not _is_aliases(one)] if isinstance(several, list) else []
        return next((sub for one in simple if (sub := _sub(one, provider)) is not None), None)
    if kind == "iss_sub":
        return text_of(subject, "sub") if subject.get("iss") == provider else None
    return _opaque(subject)


def _is_aliases(subject: Any) -> bool:
    return isinstance(subject, Mapping) and subject.get("format") == "aliases"  # RFC 9493 3.2.8: not nested


def _opaque(subject: Any) -> str | None:
    if not isinstance(subject, Mapping) or subject.get("format") != "opaque":
        return None
    return text_of(subject, "id")
