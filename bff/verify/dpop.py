"""The check of a DPoP proof (RFC 9449 4.3). Pure: the caller sees to `jti` once, and to the nonce.

Rule 1: the proof's own key counts for nothing but the proof: who checks compares its thumbprint with the one
that the token names.
Rule 2: a refusal names its reason, and never holds the proof or a part of it.
"""

import hmac
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from .claims import Refusal, finite_time
from .confirmation import thumbprint_of
from .http_url import normal_url
from .jwk import public_part
from .jws import is_signed, read_parts, read_payload

PROOF_ALGORITHMS = ("ES256", "PS256", "EdDSA", "Ed25519")
MAX_AGE = 60.0
"""Seconds after its `iat` for which a proof is taken; as long its `jti` has to be remembered."""
LEEWAY = 5.0
"""Seconds by which clocks may differ."""
MIN_RSA_BITS = 2048
MAX_JTI = 256
_TYPE = "dpop+jwt"
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}


@dataclass(frozen=True, slots=True)
class Proof:
    """A good proof.

    Attributes:
        jkt: the thumbprint of its key (RFC 7638).
        jti: its name; it is good once.
        iat: seconds since 1970.
        nonce: the server's nonce that it repeats, if any.
    """

    jkt: str
    jti: str
    iat: float
    nonce: str | None = None

    def memory_key(self) -> str:
        """Returns the name under which its use is remembered: of its key and `jti`, of a fixed length."""
        return thumbprint_of(f"{self.jkt}\n{self.jti}".encode("utf-8", "surrogatepass"))


def check_proof(  # noqa: PLR0911 - one line for each check of RFC 9449 4.3
    text: str,
    *,
    method: str,
    url: str,
    now: float,
    access_token: str | None = None,
    algorithms: Collection[str] = PROOF_ALGORITHMS,
    max_age: float = MAX_AGE,
    leeway: float = LEEWAY,
) -> Proof | Refusal:
    """Judges a proof.

    Args:
        text: the value of the `DPoP` header field.
        method: that of the request.
        url: that of the request; query and fragment do not count.
        now: seconds since 1970.
        access_token: the token that the proof comes with; None at a token endpoint.
        algorithms: those that may sign; each with a public key.
        max_age: seconds after `iat` for which it is taken.
        leeway: seconds by which the clocks may differ.
    """
    read = read_parts(text)
    if read is None:
        return Refusal.PROOF_MALFORMED
    parts, header = read
    if header.get("typ") != _TYPE or "crit" in header or "b64" in header:
        return Refusal.PROOF_TYPE
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        return Refusal.PROOF_ALGORITHM
    key = _public_key(header.get("jwk"), algorithm)
    if key is None:
        return Refusal.PROOF_KEY
    if not is_signed(parts, key, algorithm):
        return Refusal.PROOF_SIGNATURE
    claims = read_payload(parts)
    if claims is None:
        return Refusal.PROOF_MALFORMED
    return _judge(
        claims,
        key.thumbprint(),
        method=method,
        url=url,
        now=now,
        access_token=access_token,
        max_age=max_age,
        leeway=leeway,
    )


def _judge(  # noqa: PLR0911 - one line for each check of RFC 9449 4.3
    claims: Mapping[str, Any],
    jkt: str,
    *,
    method: str,
    url: str,
    now: float,
    access_token: str | None,
    max_age: float,
    leeway: float,
) -> Proof | Refusal:
    jti, iat, nonce = claims.get("jti"), finite_time(claims.get("iat")), claims.get("nonce")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI or iat is None:
        return Refusal.PROOF_MALFORMED
    if nonce is not None and not isinstance(nonce, str):
        return Refusal.PROOF_MALFORMED
    if claims.get("htm") != method:
        return Refusal.PROOF_METHOD
    named = claims.get("htu")
    where = normal_url(named) if isinstance(named, str) else None
    if where is None or where != normal_url(url):
        return Refusal.PROOF_URL
    if not now - max_age - leeway <= iat <= now + leeway:
        return Refusal.PROOF_TIME
    if access_token is not None and not _same(claims.get("ath"), thumbprint_of(access_token.encode())):
        return Refusal.PROOF_TOKEN
    return Proof(jkt, jti, iat, nonce)


def _public_key(data: Any, algorithm: str) -> Key | None:
    """Returns the proof's key, if it is a public one that goes with the algorithm."""
    if not isinstance(data, Mapping) or _PRIVATE & data.keys():
        return None
    part = public_part(data)
    if isinstance(part, str):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # a short key, which is refused below
            key = import_key(part)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if isinstance(key, RSAKey):
        return key if algorithm not in _CURVES and key.raw_value.key_size >= MIN_RSA_BITS else None
    fits = isinstance(key, ECKey | OKPKey) and key.curve_name == _CURVES.get(algorithm)
    return key if fits else None


def _same(claimed: Any, expected: str) -> bool:
    return isinstance(claimed, str) and claimed.isascii() and hmac.compare_digest(claimed, expected)
