"""private_key_jwt: what an assertion says, and how it is signed."""

import json
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey
from pydantic import SecretStr

from bff.oidc.client_authentication import ASSERTION_LIFETIME, Authentication, choose_alg
from bff.oidc.metadata import Metadata
from bff.settings.model import ProviderSettings
from tests.support.keys import rsa_key

ISSUER = "https://id.example"
METADATA = Metadata(ISSUER, f"{ISSUER}/authorize", f"{ISSUER}/token", f"{ISSUER}/jwks")
NOW = 1_800_000_000.0
KEY = ECKey.generate_key("P-256")


def assertion(key: Any = KEY, metadata: Metadata = METADATA, **settings: Any) -> str:
    provider = ProviderSettings(
        issuer=ISSUER,
        client_id="spa-bff",
        client_auth="private_key_jwt",
        client_key=SecretStr(json.dumps(key.as_dict(private=True))),
        **settings,
    )
    return Authentication(provider, lambda: NOW).client(metadata).assertion


@pytest.mark.requirement("O-13")
def test_an_assertion_is_for_the_issuer_once_and_for_a_minute() -> None:
    """iss, sub, aud (the issuer alone, as a text), iat, exp, and a `jti` that no other one has."""
    first, second = (jwt.decode(assertion(), KEY, ["ES256"]).claims for _ in range(2))
    assert {
        "iss": "spa-bff",
        "sub": "spa-bff",
        "aud": ISSUER,
        "iat": NOW,
        "exp": NOW + ASSERTION_LIFETIME,
        "jti": first["jti"],
    } == first
    assert first["jti"] != second["jti"]
    assert len(first["jti"]) >= 22


@pytest.mark.requirement("O-13")
def test_the_key_is_named() -> None:
    """By the setting, else by the JWK itself, else by its thumbprint (RFC 7638)."""
    named = ECKey.import_key({**KEY.as_dict(private=True), "kid": "own"})

    def kid(key: Any, **settings: Any) -> Any:
        return jws.extract_compact(assertion(key, **settings).encode()).headers()["kid"]

    assert KEY.thumbprint() == kid(KEY)
    assert "own" == kid(named)
    assert "set" == kid(named, client_key_id="set")


def test_the_token_endpoint_can_be_the_audience() -> None:
    """For providers that know the old rule only."""
    claims = jwt.decode(assertion(client_assertion_aud="token_endpoint"), KEY, ["ES256"]).claims
    assert f"{ISSUER}/token" == claims["aud"]


@pytest.mark.requirement("O-13")
@pytest.mark.parametrize(
    ("key", "offered", "alg"),
    [
        (ECKey.generate_key("P-256"), (), "ES256"),
        (ECKey.generate_key("P-384"), ("ES256",), "ES384"),
        (ECKey.generate_key("P-521"), (), "ES512"),
        (OKPKey.generate_key("Ed25519"), (), "EdDSA"),
        (OKPKey.generate_key("Ed25519"), ("Ed25519",), "Ed25519"),
        (rsa_key(), (), "RS256"),
        (rsa_key(), ("ES256", "PS256"), "PS256"),
        (rsa_key(), ("PS256", "RS256"), "RS256"),
        (rsa_key({"alg": "PS512"}), ("RS256",), "PS512"),
    ],
)
def test_the_algorithm_fits_key_and_provider(key: Any, offered: tuple[str, ...], alg: str) -> None:
    """The key's own, else one that the provider says it verifies."""
    assert alg == choose_alg(key, offered)
    signed = assertion(key, Metadata(ISSUER, "", "", "", client_assertion_algs=offered))
    assert alg == jws.extract_compact(signed.encode()).headers()["alg"]


@pytest.mark.requirement("P-05")
@pytest.mark.parametrize("offered", [(), ("RS256", "PS256"), ("RS256",)])
def test_an_algorithm_of_the_profile(offered: tuple[str, ...]) -> None:
    """FAPI 2.0 takes no RS256 (5.4.1), whatever the provider offers: not for assertions, nor for requests."""
    key = rsa_key()
    provider = ProviderSettings(
        issuer=ISSUER,
        client_id="spa-bff",
        profile="fapi2",
        client_key=SecretStr(json.dumps(key.as_dict(private=True))),
        request_object=True,
    )
    metadata = Metadata(ISSUER, "", "", "", client_assertion_algs=offered, request_object_algs=offered)
    client = Authentication(provider, lambda: NOW).client(metadata)
    assert "PS256" == jws.extract_compact(client.assertion.encode()).headers()["alg"]
    assert client.signer is not None
    assert "PS256" == client.signer.alg


@pytest.mark.requirement("B-01")
def test_without_its_means_there_is_no_client() -> None:
    """The proxy is a confidential client or none."""
    for method in ("private_key_jwt", "client_secret_basic", "tls_client_auth"):
        settings = ProviderSettings(issuer=ISSUER, client_id="spa-bff", client_auth=method)
        with pytest.raises(ValueError, match="has to authenticate"):
            Authentication(settings, lambda: NOW)
