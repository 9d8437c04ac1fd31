"""The checks of an access token's claims (RFC 9068 section 4, RFC 8725), without I/O or clock.

Rule 1: a check passes for a value that is present and right; one that is missing, doubled or of another type
is refused.
Rule 2: a refusal names its reason, and never holds the token or a part of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from .confirmation import UNBOUND, Confirmation, read_confirmation
from .jws import MAX_TOKEN as MAX_TOKEN  # noqa: PLC0414 - its public name since the beginning

ALGORITHMS = ("ES256", "RS256")
# Header parameters that bring keys along or change what is signed: nobody here needs them (RFC 8725 3.10).
FORBIDDEN_HEADERS = ("jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc")


@dataclass(frozen=True, slots=True)
class Profile:
    """The kind of JWT that an issuer's access tokens are.

    Attributes:
        types: the header's `typ`, in lower case and without `application/`; None stands for none at all.
        foreign: claims that only other kinds of token have: without a type of its own nothing else tells an
            access token from an ID token or a logout token (RFC 8725 3.12).
        client_id: claims that may name the client; the first that is there counts.
    """

    types: frozenset[str | None]
    foreign: frozenset[str] = frozenset()
    client_id: tuple[str, ...] = ("client_id",)


RFC9068 = Profile(frozenset({"at+jwt"}))
PLAIN_JWT = Profile(
    frozenset({"jwt", "at+jwt", None}),
    foreign=frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"}),
    client_id=("client_id", "azp"),
)
"""For issuers that do not mark access tokens: a token with the marks of another kind is refused."""


@dataclass(frozen=True, slots=True)
class _Told:
    """The words of a refusal: a stable one, the status, and the code of RFC 6750 section 3.1, if any."""

    reason: str
    status: int
    error: str | None


class Refusal(Enum):
    """The reason why a token is not taken, with the status and RFC 6750 error code for the client."""

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
    BOUND = _Told("bound", 401, "invalid_token")
    """The token is bound to a key or certificate, and came without the proof that goes with it."""
    UNBOUND = _Told("unbound", 401, "invalid_token")
    """The token is bound to nothing, and came as one that is, or is demanded to be."""
    CERTIFICATE = _Told("certificate", 401, "invalid_token")
    PROOF_MISSING = _Told("proof_missing", 401, "invalid_dpop_proof")
    PROOF_DOUBLED = _Told("proof_doubled", 400, "invalid_dpop_proof")
    PROOF_MALFORMED = _Told("proof_malformed", 401, "invalid_dpop_proof")
    PROOF_TYPE = _Told("proof_type", 401, "invalid_dpop_proof")
    PROOF_ALGORITHM = _Told("proof_algorithm", 401, "invalid_dpop_proof")
    PROOF_KEY = _Told("proof_key", 401, "invalid_dpop_proof")
    PROOF_SIGNATURE = _Told("proof_signature", 401, "invalid_dpop_proof")
    PROOF_METHOD = _Told("proof_method", 401, "invalid_dpop_proof")
    PROOF_URL = _Told("proof_url", 401, "invalid_dpop_proof")
    PROOF_TIME = _Told("proof_time", 401, "invalid_dpop_proof")
    PROOF_TOKEN = _Told("proof_token", 401, "invalid_dpop_proof")
    PROOF_BINDING = _Told("proof_binding", 401, "invalid_token")
    """The proof is by another key than the one that the token is bound to."""
    PROOF_REPLAYED = _Told("proof_replayed", 401, "invalid_dpop_proof")
    PROOF_NONCE = _Told("proof_nonce", 401, "use_dpop_nonce")
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
        """The error code of RFC 6750 section 3.1, if there is one."""
        return self.value.error


@dataclass(frozen=True, slots=True)
class Challenge:
    """The schemes that a refused client is told of, the one that it used first (RFC 9449 7.1).

    Attributes:
        schemes: of "Bearer" and "DPoP".
        algorithms: those that may sign a proof, for "DPoP".
        nonce: the server's nonce for the next proof, if it asks for one.
    """

    schemes: tuple[str, ...] = ("Bearer",)
    algorithms: tuple[str, ...] = ()
    nonce: str | None = None


BEARER = Challenge()


class TokenRefusedError(Exception):
    """A token was not taken.

    Attributes:
        refusal: the reason.
        scope: the scope that would have been enough.
        challenge: the schemes that the client is told of.
    """

    def __init__(self, refusal: Refusal, scope: Collection[str] = (), challenge: Challenge = BEARER) -> None:
        super().__init__(refusal.reason)
        self.refusal, self.scope, self.challenge = refusal, frozenset(scope), challenge

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return self.refusal.status

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of the answer: `WWW-Authenticate` (RFC 6750 3), or `Retry-After` with 503.

        With `DPoP-Nonce` where the next proof has to repeat a nonce (RFC 9449 9).
        """
        if self.refusal is Refusal.UNAVAILABLE:
            return {"Cache-Control": "no-store", "Retry-After": "2"}
        told = challenge(self.refusal, self.scope, self.challenge)
        nonce = {} if self.challenge.nonce is None else {"DPoP-Nonce": self.challenge.nonce}
        return {"Cache-Control": "no-store", "WWW-Authenticate": told, **nonce}

    @property
    def body(self) -> dict[str, str]:
        """The JSON body of the answer."""
        return {"error": self.refusal.error or self.refusal.reason, "reason": self.refusal.reason}


def credentials(authorization: Collection[str]) -> tuple[Literal["Bearer", "DPoP"], str]:
    """Returns scheme and token of a request, by the values of its `Authorization` header fields.

    TokenRefusedError if there is none, or more than one field. A token in a query or a form is none
    (RFC 9700 4.3.2).
    """
    if len(authorization) > 1:
        raise TokenRefusedError(Refusal.DOUBLED)
    scheme, _, token = next(iter(authorization), "").partition(" ")
    known = _SCHEMES.get(scheme.lower())
    if known is None or not token.strip():
        raise TokenRefusedError(Refusal.MISSING)
    if not token.isascii():
        raise TokenRefusedError(Refusal.MALFORMED)
    return known, token.strip()


def bearer_token(authorization: Collection[str]) -> str:
    """Returns the token of a request that comes as a bearer token; as `credentials` otherwise."""
    scheme, token = credentials(authorization)
    if scheme != "Bearer":
        raise TokenRefusedError(Refusal.MISSING)
    return token


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a good token. Times are in seconds since 1970; `rest` holds every other claim, unchecked.

    `sid` is empty where no sign-in stands behind the token, as with a client's own. `role` and `tid` (the
    tenant) are None where the token does not say. `confirmation` is the key or certificate that the token is
    bound to; empty for a bearer token. `dpop_nonce` is a newer nonce than the one in the request's proof: the
    answer should carry it in `DPoP-Nonce` (RFC 9449 8.2), as the helpers for frameworks make it do.
    """

    sub: str
    sid: str
    client_id: str
    jti: str
    iat: float
    exp: float
    scope: frozenset[str]
    role: str | None
    tid: str | None
    rest: Mapping[str, Any]
    confirmation: Confirmation = UNBOUND
    dpop_nonce: str | None = None


def check_header(
    header: Mapping[str, Any], algorithms: Collection[str], profile: Profile = RFC9068
) -> Refusal | None:
    """Judges a token's header before its signature is looked at."""
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algorithms:
        return Refusal.ALGORITHM
    if any(name in header for name in FORBIDDEN_HEADERS) or not isinstance(header.get("kid", ""), str):
        return Refusal.MALFORMED
    typ = header.get("typ")
    if isinstance(typ, str):
        typ = typ.lower().removeprefix("application/")
    elif typ is not None or "typ" in header:
        return Refusal.TYPE
    return None if typ in profile.types else Refusal.TYPE


def check_claims(
    claims: Mapping[str, Any],
    *,
    issuer: str,
    audience: str,
    now: float,
    leeway: float,
    profile: Profile = RFC9068,
) -> Claims | Refusal:
    """Judges the claims of a token whose signature is good."""
    named = claims.get("aud")
    if claims.get("iss") != issuer:
        return Refusal.ISSUER
    if not profile.foreign.isdisjoint(claims):
        return Refusal.TYPE
    if audience not in (named if isinstance(named, list) else [named]):
        return Refusal.AUDIENCE
    confirmation = read_confirmation(claims)
    if confirmation is None:
        return Refusal.BOUND
    read = _read(claims, profile, confirmation)
    return Refusal.CLAIMS if read is None else _timely(read, claims, now, leeway)


def _read(claims: Mapping[str, Any], profile: Profile, confirmation: Confirmation) -> Claims | None:
    """The claims by their types; None if a required one is missing or one is of another type."""
    names = {name: _word(claims.get(name)) for name in ("sub", "jti")}
    sid = claims.get("sid", "")
    names["client_id"] = _word(next((claims[name] for name in profile.client_id if name in claims), None))
    exp, iat = finite_time(claims.get("exp")), finite_time(claims.get("iat"))
    typed = all(isinstance(claims.get(name, ""), str) for name in ("role", "tid", "scope", "sid"))
    if exp is None or iat is None or not typed or not all(names.values()):
        return None
    return Claims(
        **names,
        sid=sid,
        iat=iat,
        exp=exp,
        scope=frozenset(claims.get("scope", "").split()),
        role=claims.get("role"),
        tid=claims.get("tid"),
        rest={name: value for name, value in claims.items() if name not in _TAKEN},
        confirmation=confirmation,
    )


def _timely(read: Claims, claims: Mapping[str, Any], now: float, leeway: float) -> Claims | Refusal:
    not_before = finite_time(claims.get("nbf", read.iat))
    if not_before is None:
        return Refusal.CLAIMS
    if read.exp <= now - leeway:
        return Refusal.EXPIRED
    return Refusal.NOT_YET if max(read.iat, not_before) > now + leeway else read


def challenge(refusal: Refusal, scope: Collection[str] = (), to: Challenge = BEARER) -> str:
    """The value of `WWW-Authenticate` (RFC 6750 section 3): no error code where no token came.

    `scope` is the scope that would have been enough. The error stands with the first scheme of `to`.
    """
    said: list[str] = []
    for number, scheme in enumerate(to.schemes):
        words = _error_words(refusal, scope) if number == 0 else []
        if scheme == "DPoP":
            words.append(f'algs="{" ".join(to.algorithms)}"')
        said.append(f"{scheme} {', '.join(words)}" if words else scheme)
    return ", ".join(said)


def _error_words(refusal: Refusal, scope: Collection[str]) -> list[str]:
    if refusal.error is None:
        return []
    wanted = [f'scope="{" ".join(sorted(scope))}"'] if scope and refusal is Refusal.SCOPE else []
    return [f'error="{refusal.error}"', f'error_description="{refusal.reason}"', *wanted]


def _word(value: Any) -> str:
    """Returns a text; the empty one for a value of another type."""
    return value if isinstance(value, str) else ""


def finite_time(value: Any) -> float | None:
    """Returns a finite number (in Python `True` would be one as well), else None."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _FAR_FUTURE
    return float(value) if number else None


_FAR_FUTURE = 1e12
_SCHEMES: Mapping[str, Literal["Bearer", "DPoP"]] = {"bearer": "Bearer", "dpop": "DPoP"}
_TAKEN = frozenset({"sub", "sid", "client_id", "jti", "iat", "exp", "scope", "role", "tid"})
