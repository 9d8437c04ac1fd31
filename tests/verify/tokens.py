"""Tokens and keys of an issuer that is not there: what the verifier's tests share."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from bff.verify import Refusal, TokenRefusedError, TokenVerifier
from bff.verify.fetch import FetchError
from tests.support.providers.issuer import AUDIENCE

ISSUER = "https://id.example.com"
NOW = 1_800_000_000.0
KEY = ECKey.generate_key("P-256", {"kid": "one"})
OTHER = ECKey.generate_key("P-256", {"kid": "one"})
HEADER = {"alg": "ES256", "kid": "one", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "alice",
    "sid": "the-sid",
    "client_id": "spa-bff",
    "jti": "the-jti",
    "iat": NOW - 10,
    "exp": NOW + 50,
    "scope": "openid orders",
}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Documents:
    """The issuer's documents, and how often they were asked for."""

    def __init__(self, *keys: Any) -> None:
        self.keys = list(keys)
        self.asked: list[str] = []
        self.down = False

    async def get(self, url: str) -> Mapping[str, Any]:
        self.asked.append(url)
        if self.down:
            raise FetchError("down")
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
        return {"keys": [key.as_dict(private=False) for key in self.keys]}


def token(header: dict[str, Any] | None = None, key: Any = KEY, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    header = header or HEADER
    return jwt.encode(header, claims, key, [header["alg"]])


def verifier(documents: Documents | None = None, **options: Any) -> TokenVerifier:
    return TokenVerifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        fetch=(documents or Documents(KEY)).get,
        clock=lambda: NOW,
        **options,
    )


async def refusal_of(text: str, **options: Any) -> Refusal:
    with pytest.raises(TokenRefusedError) as caught:
        await verifier(**options).verify(text)
    return caught.value.refusal
