"""Clients with keys of their own, and how they show who they are."""

import secrets
import time
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from bff.issuer.grants.client_auth import ASSERTION_TYPE

KEY_CLIENT = "keyed"


def new_key(kid: str = "one") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def jwks_of(*keys: ECKey | RSAKey) -> dict[str, Any]:
    return {**KeySet(list(keys)).as_dict(private=False)}


def assertion(
    key: ECKey | RSAKey, aud: Any, *, alg: str = "ES256", header: Any = None, **changes: Any
) -> str:
    """An assertion of KEY_CLIENT; a claim that is None is left out."""
    now = int(time.time())
    claims = {
        "iss": KEY_CLIENT,
        "sub": KEY_CLIENT,
        "aud": aud,
        "jti": secrets.token_urlsafe(12),
        "iat": now,
        "exp": now + 60,
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": key.kid, **(header or {})}, claims, key, [alg])


def form_of(text: str) -> dict[str, str]:
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": text}
