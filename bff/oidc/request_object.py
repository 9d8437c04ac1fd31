"""Signed authorization requests (JAR, RFC 9101) by the key that the client authenticates with.

Only the request object counts at the provider: no parameter can be changed or taken away in the browser.
"""

import json
import secrets
import warnings
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning

from bff.oidc.requests import Client, Fields
from bff.settings.model import ProviderSettings

TYPE = "oauth-authz-req+jwt"
LIFETIME = 60
"""Seconds; it is sent at once, and FAPI 2.0 Message Signing wants it short."""


def signed_request(client: Client, fields: Fields, *, issuer: str, now: int) -> Fields:
    """Returns a request's parameters as one signed JWT, with `client_id` beside it (RFC 9101 5).

    Args:
        client: the client; without a signer the parameters stay as they are.
        fields: the request's parameters.
        issuer: the provider's identifier, the only one that it is for.
        now: seconds since 1970.
    """
    signer = client.signer
    if signer is None:
        return fields
    claims = {
        **{name: _value(name, value) for name, value in fields.items()},
        "iss": client.client_id,
        "aud": issuer,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "jti": secrets.token_urlsafe(16),
    }
    header = {"alg": signer.alg, "kid": signer.kid, "typ": TYPE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # "EdDSA": as a name only (RFC 9864)
        text = jwt.encode(header, claims, signer.key, [signer.alg])
    return {"client_id": client.client_id, "request": text}


def authorization_details(settings: ProviderSettings, name: str) -> str | None:
    """Returns the authorization details of a sign-in as JSON (RFC 9396): those of each, and of a name."""
    wanted = [*settings.authorization_details, *settings.login_authorization_details.get(name, ())]
    return json.dumps(wanted) if wanted else None


def _value(name: str, value: Any) -> Any:
    """A parameter as a claim: numbers and JSON as what they are (RFC 9101 4, RFC 9396 3)."""
    if name == "max_age":
        return int(value)
    if name == "authorization_details":
        parsed: list[Mapping[str, Any]] = json.loads(value)
        return parsed
    return value if isinstance(value, str) else list(value)
