"""DPoP proofs as a client makes them, good and bad: what the verifier's and the issuer's tests share."""

import hashlib
import json
import secrets
import warnings
from typing import Any

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.verify.tokens import b64

PROVER = ECKey.generate_key("P-256")
STRANGER = ECKey.generate_key("P-256")


class _Lenient(jws.JWSRegistry):
    """Signs whatever a header says."""

    def check_header(self, header: Any) -> None:
        """Takes it as it is."""


def proof(
    url: str,
    method: str = "POST",
    *,
    key: ECKey | OKPKey | RSAKey = PROVER,
    alg: str = "ES256",
    iat: float,
    header: dict[str, Any] | None = None,
    token: str | None = None,
    **changes: Any,
) -> str:
    """A proof; a claim or header member that is None is left out. `token`: the one that it comes with."""
    claims = {
        "htm": method,
        "htu": url,
        "iat": iat,
        "jti": secrets.token_urlsafe(12),
        "ath": None if token is None else b64(hashlib.sha256(token.encode()).digest()),
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    told = {"typ": "dpop+jwt", "alg": alg, "jwk": key.as_dict(private=False), **(header or {})}
    told = {name: value for name, value in told.items() if value is not None}
    rules = _Lenient(algorithms=[alg], strict_check_header=False)
    rules.max_header_length = 8192
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # "EdDSA": as a name only
        return jws.serialize_compact(told, json.dumps(claims), key, registry=rules)
