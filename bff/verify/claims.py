"""What makes an access token good (RFC 9068 section 4, RFC 8725), decided without I/O or clock.

Rule 1: a check passes on what is there and right; what is missing, doubled or of another type is refused.
Rule 2: a refusal names its reason, and never holds the token or a part of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

MAX_TOKEN = 8 * 1024  # characters; more than that is no access token
ALGORITHMS = ("ES256", "RS256")
# Header parameters that bring keys along or change what is signed: nobody here needs them (RFC 8725 3.10).
FORBIDDEN_HEADERS = ("jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc")


@dataclass(frozen=True, slots=True)
class _Told:
    """What a client is told: a stable word, the status, and the code of RFC 6750 section 3.1, if any."""

    reason: str
    status: int
    error: str | None


class Refusal(Enum):
    """Why a token is not taken, with the status and the RFC 6750 error code that a client is told."""

    MISSING = _Told("missing", 401, None)
    DOUBLED = _Told("doubled", 400, "invalid_request")
    MALFORMED = _Told("malformed", 401, "invalid_token")
    ALGORITHM = _Told("algorithm", 401, "invalid_token")
    TYPE = _Told("type", 401, "invalid_token")
    UNKNOWN_KEY = _Told("unknown_key", 401, "invalid_token")
    SIGNATURE = _Told("signature", 401, "invalid_token")
    ISSUER = _Told("issuer", 401, "invalid_token")
    AUDIENCE = _Told("audience", 401, "invalid_token")
    EXPIRED = _Told("expired", 401, "invalid_token")
    NOT_YET = _Told("not_yet", 401, "invalid_token")
    CLAIMS = _Told("claims", 401, "invalid_token")
    REVOKED = _Told("revoked", 401, "invalid_token")
    SCOPE = _Told("scope", 403, "insufficient_scope")
    UNAVAILABLE = _Told("unavailable", 503, None)

    @property
    def reason(self) -> str:
        """A stable word for logs and metrics."""
        return self.value.reason

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value.status

    @property
    def error(self) -> str | None:
        """The error code of RFC 6750 section 3.1, if there is one to tell."""
        return self.value.error


class TokenRefusedError(Exception):
    """A token was not taken."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says. Times are in seconds since 1970; `rest` holds every other claim, unchecked."""

    sub: str
    sid: str
    client_id: str
    jti: str
    iat: float
    exp: float
    scope: frozenset[str]
    rest: Mapping[str, Any]


def check_header(header: Mapping[str, Any], algorithms: Collection[str]) -> Refusal | None:
    """Judges a token's header before its signature is looked at."""
    if header.get("alg") not in algorithms:
        return Refusal.ALGORITHM
    if any(name in header for name in FORBIDDEN_HEADERS) or not isinstance(header.get("kid", ""), str):
        return Refusal.MALFORMED
    typ = header.get("typ")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") != "at+jwt":
        return Refusal.TYPE
    return None


def check_claims(
    claims: Mapping[str, Any], *, issuer: str, audience: str, now: float, leeway: float
) -> Claims | Refusal:
    """Judges the claims of a token whose signature is good."""
    named = claims.get("aud")
    if claims.get("iss") != issuer:
        return Refusal.ISSUER
    if audience not in (named if isinstance(named, list) else [named]):
        return Refusal.AUDIENCE
    names = {name: _word(claims.get(name)) for name in ("sub", "sid", "client_id", "jti")}
    exp, iat, nbf = (_time(claims.get(name)) for name in ("exp", "iat", "nbf"))
    scope = claims.get("scope", "")
    bad_nbf = "nbf" in claims and nbf is None
    if exp is None or iat is None or bad_nbf or not isinstance(scope, str) or not all(names.values()):
        return Refusal.CLAIMS
    if exp <= now - leeway:
        return Refusal.EXPIRED
    if max(iat, nbf or iat) > now + leeway:
        return Refusal.NOT_YET
    rest = {name: value for name, value in claims.items() if name not in (*names, "iat", "exp", "scope")}
    return Claims(**names, iat=iat, exp=exp, scope=frozenset(scope.split()), rest=rest)


def challenge(refusal: Refusal) -> str:
    """The value of `WWW-Authenticate` (RFC 6750 section 3): no error code where no token came."""
    if refusal.error is None:
        return "Bearer"
    return f'Bearer error="{refusal.error}", error_description="{refusal.reason}"'


def _word(value: Any) -> str:
    """A text, or the empty one for everything else."""
    return value if isinstance(value, str) else ""


def _time(value: Any) -> float | None:
    """A finite number (in Python `True` would be one as well), else None."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _FAR_FUTURE
    return float(value) if number else None


_FAR_FUTURE = 1e12
