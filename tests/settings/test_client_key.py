"""What the proxy authenticates with: a secret or a private key, one of them, and usable."""

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey
from pydantic import SecretStr

from bff.oidc.client_authentication import Authentication, new_client_key
from bff.oidc.metadata import Metadata
from bff.settings.client_key import check_client_auth, public_key_set, read_client_key
from bff.settings.load import load
from bff.settings.model import ProviderSettings
from tests.support.keys import rsa_key
from tests.support.settings import GOOD, only, secret, write

EC = ECKey.generate_key("P-256")
PEM = EC.as_pem(private=True).decode()
BY_KEY = GOOD.replace('client_secret = "s3cret"', 'client_auth = "private_key_jwt"')


def jwk(key: Any) -> str:
    return json.dumps(key.as_dict(private=True))


def complaints(**settings: Any) -> list[tuple[str, bool]]:
    provider = ProviderSettings(issuer="https://id.example", client_id="spa", **settings)
    return [(finding.key, finding.warning) for finding in check_client_auth(provider)]


@pytest.mark.requirement("O-13")
@pytest.mark.parametrize(
    "text",
    [
        PEM,
        jwk(EC),
        jwk(rsa_key()),
        rsa_key().as_pem(private=True).decode(),
        jwk(OKPKey.generate_key("Ed25519")),
        ECKey.generate_key("P-521").as_pem(private=True).decode(),
    ],
)
def test_keys_come_as_pem_or_as_jwk(text: str) -> None:
    """RSA, EC and Ed25519, in either form."""
    assert read_client_key(text).is_private


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no private key"),
        ("nonsense", "no private key"),
        ("{}", "no private key"),
        ("{", "no private key"),
        (EC.as_pem(private=False).decode(), "no private key"),
        (json.dumps(EC.as_dict(private=False)), "no private key"),
        pytest.param(jwk(OctKey.generate_key(256)), "no private key", id="octets"),
        (jwk(ECKey.generate_key("secp256k1")), "curve"),
        (jwk(OKPKey.generate_key("X25519")), "curve"),
    ],
)
def test_other_things_are_no_keys(text: str, reason: str) -> None:
    """Public halves, shared secrets, unusual curves and nonsense are told apart from keys, and not shown."""
    with pytest.raises(ValueError, match=reason) as caught:
        read_client_key(text)
    assert not text or text not in str(caught.value)


def test_short_rsa_keys_are_refused() -> None:
    """RSA of less than 2048 bits (RFC 7518 3.3)."""
    with pytest.warns(SecurityWarning):
        short = jwk(RSAKey.generate_key(1024))
    with pytest.raises(ValueError, match="2048"):
        read_client_key(short)


@pytest.mark.requirement("O-13", "B-01")
def test_one_of_them_is_there_and_the_right_one() -> None:
    """Missing, doubled and unusable means of authentication are said before the start."""
    key, word = SecretStr(PEM), SecretStr("s3cret")
    by_key = {"client_auth": "private_key_jwt"}
    assert [] == complaints(**by_key, client_key=key)
    assert [] == complaints(client_secret=word)
    assert [("provider.client_key", False)] == complaints(**by_key)
    assert [("provider.client_key", False)] == complaints(**by_key, client_key=SecretStr("nonsense"))
    assert [("provider.client_secret", False)] == complaints(**by_key, client_key=key, client_secret=word)
    assert [("provider.client_key", True)] == complaints(client_key=key, client_secret=word)
    assert [("provider.client_secret", False), ("provider.client_key", True)] == complaints(client_key=key)


@pytest.mark.requirement("P-04", "B-01")
def test_a_certificate_takes_a_secrets_place() -> None:
    """It is missed where it authenticates or binds; a secret beside it, and a key without it, are said."""
    cert, word = {"client_cert_file": Path("c.pem")}, {"client_secret": SecretStr("s3cret")}
    for method in ("tls_client_auth", "self_signed_tls_client_auth"):
        assert [] == complaints(client_auth=method, **cert)
        assert [("provider.client_cert_file", False)] == complaints(client_auth=method)
        assert [("provider.client_secret", False)] == complaints(client_auth=method, **cert, **word)
    assert [] == complaints(token_binding="mtls", **cert, **word)
    assert [("provider.client_cert_file", False)] == complaints(token_binding="mtls", **word)
    assert [("provider.client_cert_key_file", False)] == complaints(
        client_cert_key_file=Path("k.pem"), **word
    )


@pytest.mark.requirement("O-13")
def test_the_key_comes_from_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`client_key_file` is read like every secret file; a broken one is reported with its name only."""
    monkeypatch.chdir(tmp_path)
    file = secret("client.pem", PEM)
    settings = load(write(f'{BY_KEY}client_key_file = "{file}"\n'), {})
    assert settings.provider.client_key is not None
    assert PEM.strip() == settings.provider.client_key.get_secret_value()
    bad = secret("bad.pem", "-----BEGIN nonsense")
    problem = only(f'{BY_KEY}client_key_file = "{bad}"\n')
    assert ("provider.client_key", f"secret file {bad}") == (problem.key, problem.source)
    assert "nonsense" not in str(problem)


@pytest.mark.requirement("O-13")
@pytest.mark.parametrize("text", [PEM, jwk(EC), new_client_key(), jwk(rsa_key({"kid": "mine"}))])
def test_the_public_half_is_what_a_provider_gets(text: str) -> None:
    """A key set that verifies what the proxy signs, under the name that the proxy gives the key."""
    (public,) = json.loads(public_key_set(text))["keys"]
    assert {"d", "p", "q"}.isdisjoint(public)
    provider = ProviderSettings(
        issuer="https://id.example",
        client_id="spa",
        client_auth="private_key_jwt",
        client_key=SecretStr(text),
    )
    metadata = Metadata("https://id.example", "", "", "")
    assertion = Authentication(provider, lambda: 1_800_000_000.0).client(metadata).assertion
    assert public["kid"] == jws.extract_compact(assertion.encode()).headers()["kid"]
    assert "spa" == jwt.decode(assertion, JWKRegistry.import_key(public), ["ES256", "RS256"]).claims["sub"]
