"""`profile = "fapi2"`: what it sets and what contradicts it; signed requests and authorization details."""

import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey
from pydantic import SecretStr, ValidationError

from bff.settings.fapi2 import check_fapi2, fapi2_algs_of
from bff.settings.model import ProviderSettings
from bff.settings.provider_check import check_provider
from tests.support.keys import rsa_key

KEY = json.dumps(ECKey.generate_key("P-256").as_dict(private=True))
RSA = rsa_key()


def provider(**values: Any) -> ProviderSettings:
    fields = {"issuer": "https://id.example", "client_id": "spa", "client_key": KEY, **values}
    return ProviderSettings.model_validate(fields)


def fapi2(**values: Any) -> ProviderSettings:
    return provider(profile="fapi2", **values)


@pytest.mark.requirement("P-05")
def test_the_profile_sets_what_it_asks_for() -> None:
    """One line and a key: pushed requests, assertions for the issuer, strong algorithms."""
    settings = fapi2()
    chosen = (settings.client_auth, settings.token_binding, settings.par)
    assert ("private_key_jwt", "dpop", "always") == chosen
    assert ("PS256", "ES256", "EdDSA") == settings.id_token_algs
    assert [] == list(check_provider(settings))
    assert ("client_secret_basic", "auto") == (provider().client_auth, provider().par)
    assert [] == list(check_fapi2(provider(par="never")))


@pytest.mark.requirement("P-05")
@pytest.mark.parametrize(
    "values",
    [
        {"client_auth": "client_secret_basic"},
        {"client_auth": "client_secret_post"},
        {"token_binding": "none"},
        {"par": "auto"},
        {"par": "never"},
        {"client_assertion_aud": "token_endpoint"},
        {"id_token_algs": ["RS256", "PS256"]},
        {"client_key": json.dumps(ECKey.generate_key("P-384").as_dict(private=True))},
        {"client_key": json.dumps({**RSA.as_dict(private=True), "alg": "RS256"})},
    ],
    ids=lambda values: next(iter(values)),
)
def test_what_contradicts_it_is_refused_by_name_and_fix(values: dict[str, Any]) -> None:
    """One finding about that setting, an error, which names the profile as what it rests on."""
    (finding,) = check_fapi2(fapi2(**values))
    assert f"provider.{next(iter(values))}" == finding.key
    assert not finding.warning
    assert "FAPI 2.0" in finding.message
    assert finding.fix
    assert "provider.profile" in finding.needs


@pytest.mark.requirement("P-05")
def test_keys_of_the_profile() -> None:
    """P-256, Ed25519 and RSA by PS256; a secret, and a key that cannot be read, are told once."""
    assert ("PS256",) == fapi2_algs_of(RSA)
    assert ("EdDSA", "Ed25519") == fapi2_algs_of(OKPKey.generate_key("Ed25519"))
    assert ("ES256",) == fapi2_algs_of(ECKey.generate_key("P-256"))
    found = [finding.key for finding in check_provider(fapi2(client_secret="s3cret", client_key="x"))]
    assert ["provider.client_secret", "provider.client_key"] == found
    by_certificate = fapi2(client_auth="tls_client_auth", client_key=None, client_cert_file="c.pem")
    assert [] == list(check_provider(by_certificate))


@pytest.mark.requirement("P-05")
def test_signed_requests_need_the_clients_key() -> None:
    """`request_object` beside a secret is refused."""
    assert [] == list(check_provider(provider(client_auth="private_key_jwt", request_object=True)))
    by_secret = provider(client_key=None, client_secret=SecretStr("s3cret"), request_object=True)
    assert ["provider.request_object"] == [finding.key for finding in check_provider(by_secret)]


def test_authorization_details_are_tables_with_a_type() -> None:
    """RFC 9396 2: without a type, or with what JSON has not, they are no details."""
    good = provider(
        authorization_details=[{"type": "accounts", "actions": ["read"]}],
        login_authorization_details={"payments": [{"type": "payment"}, {"type": "accounts"}]},
    )
    assert ("accounts", "payment") == good.detail_types()
    for bad in ({}, {"type": ""}, {"type": 7}, {"type": "a", "limit": float("nan")}, {"type": "a", "x": {1}}):
        with pytest.raises(ValidationError):
            provider(authorization_details=[bad])
