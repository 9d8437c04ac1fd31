"""The ID token: validated before anything in it is believed. Pure.

Rule 1: no claim is looked at before the signature holds, with a key from the provider's own key set and an
algorithm from our list; keys that a token's header names are never followed (RFC 8725 3.1, 3.10).
Rule 2: a refusal carries a reason that a program can test, and nothing of the token.
Rule 3: time is an argument; `now` and all moments are seconds since the epoch.
"""

import base64
import hashlib
import hmac
import json
import math
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact

from bff.oidc.metadata import SigningKey

Claims = Mapping[str, Any]
Reason = Literal[
    "malformed",  # not a JWS in compact form, or its payload no JSON object
    "too_long",
    "alg_not_allowed",
    "header_not_allowed",  # jku, x5u, jwk, crit or b64, or the type of another kind of token
    "unknown_key",  # no key of the set fits: fetching the set again may help
    "bad_signature",
    "iss",
    "sub",
    "sid",
    "aud",
    "azp",
    "exp",
    "iat",
    "nonce",
    "auth_time",
    "acr",
    "at_hash",
]

MAX_ID_TOKEN = 64 * 1024
_FORBIDDEN_HEADERS = ("jku", "x5u", "jwk", "crit", "b64")
_OTHER_KINDS = re.compile(r"(application/)?(at|logout|dpop|secevent|token-introspection)\+jwt", re.IGNORECASE)


class IdTokenRejectedError(Exception):
    """An ID token that is not to be believed."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"ID token rejected: {reason}")
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Expected:
    """The values that an ID token has to agree with.

    `nonce` is None for a refreshed token, which needs none (OpenID Connect Core 12.2), and then `sub` is
    that of the session. `max_age` is what was sent, `requested_at` when; `acr_required` is by the settings.
    """

    issuer: str
    client_id: str
    algs: Collection[str]
    clock_skew: float
    nonce: str | None = field(default=None, repr=False)
    sub: str | None = None
    max_age: int | None = None
    requested_at: float = 0.0
    acr_required: Collection[str] = ()
    access_token: str | None = field(default=None, repr=False)


def validate_id_token(token: str, keys: Sequence[SigningKey], expected: Expected, now: float) -> Claims:
    """Checks an ID token (OpenID Connect Core 3.1.3.7 and 12.2, RFC 8725) and returns its claims.

    Raises:
        IdTokenRejectedError: with the first check that failed, in the order of `Reason`.
    """
    header, claims = verified_claims(token, keys, expected.algs)
    if _OTHER_KINDS.fullmatch(str(header.get("typ"))):
        raise IdTokenRejectedError("header_not_allowed")
    _check_identity(claims, expected)
    _check_times(claims, expected, now)
    if expected.nonce is not None and not _same(claims.get("nonce"), expected.nonce):
        raise IdTokenRejectedError("nonce")
    _check_authentication(claims, expected)
    _check_access_token_hash(claims, header["alg"], expected.access_token)
    return claims


def verified_claims(
    token: str, keys: Sequence[SigningKey], algs: Collection[str]
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Header and claims of a JWT that the provider signed; the kind of token is not checked yet.

    Raises:
        IdTokenRejectedError: malformed, or not signed by one of the keys with one of the algorithms.
    """
    if len(token) > MAX_ID_TOKEN:
        raise IdTokenRejectedError("too_long")
    registry = JWSRegistry(strict_check_header=False)  # unknown fields are ignored (RFC 7515 4)
    registry.max_header_length = MAX_ID_TOKEN
    try:
        parsed = extract_compact(token.encode(), registry=registry)
        header: Any = parsed.headers()
        payload: Any = json.loads(parsed.payload or b"", parse_float=finite, parse_constant=finite)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise IdTokenRejectedError("malformed") from None
    if not isinstance(header, dict) or not isinstance(payload, dict):
        raise IdTokenRejectedError("malformed")
    alg = header.get("alg")
    # A shared secret verifies nothing here, in spite of any setting: HMAC with a public key (RFC 8725 2.1).
    if not isinstance(alg, str) or alg not in algs or alg == "none" or alg.startswith("HS"):
        raise IdTokenRejectedError("alg_not_allowed")
    if any(name in header for name in _FORBIDDEN_HEADERS):
        raise IdTokenRejectedError("header_not_allowed")
    _check_signature(parsed, alg, header.get("kid"), keys)
    return header, payload


def _check_signature(parsed: CompactSignature, alg: str, kid: Any, keys: Sequence[SigningKey]) -> None:
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    reason: Reason = "unknown_key"
    with warnings.catch_warnings():
        # "EdDSA" is deprecated as a name (RFC 9864), not as a signature; the settings allow it.
        warnings.simplefilter("ignore", SecurityWarning)
        for key in keys:
            if kid is not None and key.kid != kid:
                continue
            try:
                registry.get_alg(alg).check_key(key)
            except JoseError:
                continue  # of another type or curve, or published for another algorithm
            try:
                if validate_compact(parsed, key, registry=registry):
                    return
            except (JoseError, ValueError):
                pass
            reason = "bad_signature"
    raise IdTokenRejectedError(reason)


def _check_identity(claims: Claims, expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise IdTokenRejectedError("iss")
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= 255 or not sub.isprintable():  # noqa: PLR2004 - Core 2
        raise IdTokenRejectedError("sub")
    if expected.sub is not None and sub != expected.sub:
        raise IdTokenRejectedError("sub")
    sid = claims.get("sid")
    if isinstance(sid, str) and not sid.isprintable():  # lone surrogates among them, which have no UTF-8
        raise IdTokenRejectedError("sid")
    aud = claims.get("aud")
    audiences = aud if isinstance(aud, list) else [aud]
    if expected.client_id not in audiences:
        raise IdTokenRejectedError("aud")
    azp = claims.get("azp")
    if azp != expected.client_id and (azp is not None or len(audiences) > 1):
        raise IdTokenRejectedError("azp")


def _check_times(claims: Claims, expected: Expected, now: float) -> None:
    exp, iat = moment(claims.get("exp")), moment(claims.get("iat"))
    if exp is None or exp + expected.clock_skew <= now:
        raise IdTokenRejectedError("exp")
    if iat is None or iat - expected.clock_skew > now:
        raise IdTokenRejectedError("iat")


def _check_authentication(claims: Claims, expected: Expected) -> None:
    if expected.max_age is not None:
        auth_time = moment(claims.get("auth_time"))
        # Judged at the time of the request: the user may have spent minutes at the provider since.
        if auth_time is None or auth_time + expected.max_age + expected.clock_skew < expected.requested_at:
            raise IdTokenRejectedError("auth_time")
    # `acr_values` in a request is a wish (Core 3.1.2.1); only the setting demands.
    if expected.acr_required and claims.get("acr") not in expected.acr_required:
        raise IdTokenRejectedError("acr")


def _check_access_token_hash(claims: Claims, alg: str, access_token: str | None) -> None:
    stated = claims.get("at_hash")
    if stated is None or access_token is None:
        return
    name = {"256": "sha256", "384": "sha384", "512": "sha512", "DSA": "sha512", "519": "sha512"}.get(alg[-3:])
    if name is None:
        return
    digest = hashlib.new(name, access_token.encode()).digest()
    half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    if not _same(stated, half):
        raise IdTokenRejectedError("at_hash")


def finite(text: str) -> float:
    """Returns a number as JSON knows them: NaN, Infinity and 1e999 would be none in an answer of ours.

    Raises:
        ValueError: it is one of these.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a number")
    return value


def moment(value: Any) -> float | None:
    """A claim that is a time, in seconds since the epoch; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Bounded, because an integer beyond the floats raises, and NaN compares false with everything.
    return float(value) if 0 <= value < 1e12 else None  # noqa: PLR2004 - the year 33658


def _same(given: Any, wanted: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
