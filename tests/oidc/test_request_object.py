"""Authorization requests that the client signs (JAR), and authorization details (RAR) in them."""

import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from bff.oidc.request_object import authorization_details, signed_request
from bff.oidc.requests import Client, Signer, authorization_params
from bff.settings.model import ProviderSettings

KEY = ECKey.generate_key("P-256", {"kid": "one"})
NOW = 1_800_000_000


def fields(**more: Any) -> dict[str, Any]:
    built = authorization_params(
        client_id="spa",
        redirect_uri="https://app.example/bff/callback",
        scopes=["openid"],
        state="s",
        nonce="n",
        code_verifier="v" * 43,
        params={"max_age": "300", "authorization_details": "from a page", "request": "x"},
        resource=["https://a.example", "https://b.example"],
    )
    return {**built, **more}


@pytest.mark.requirement("P-05")
def test_a_request_is_signed_whole() -> None:
    """All parameters are in the JWT, for the provider alone and for a minute; beside it stands the client."""
    client = Client("spa", "", "private_key_jwt", signer=Signer(KEY, "ES256", "one"))
    sent = signed_request(
        client, fields(authorization_details='[{"type":"a"}]'), issuer="https://id.example", now=NOW
    )
    assert {"client_id", "request"} == sent.keys()
    read = jwt.decode(str(sent["request"]), KEY, ["ES256"])
    assert {"alg": "ES256", "kid": "one", "typ": "oauth-authz-req+jwt"} == read.header
    assert ("spa", "spa", "https://id.example") == tuple(read.claims[n] for n in ("iss", "client_id", "aud"))
    assert (NOW, NOW, NOW + 60) == tuple(read.claims[name] for name in ("iat", "nbf", "exp"))
    assert ("s", "n", 300) == tuple(read.claims[name] for name in ("state", "nonce", "max_age"))
    assert ["https://a.example", "https://b.example"] == read.claims["resource"]
    assert [{"type": "a"}] == read.claims["authorization_details"]
    assert not {"sub", "request", "request_uri"} & read.claims.keys()


def test_without_a_signer_a_request_stays_as_it_is() -> None:
    """And nothing that a page sends becomes a request, or authorization details."""
    plain = fields()
    assert plain is signed_request(Client("spa", "s"), plain, issuer="https://id.example", now=NOW)
    assert not {"request", "authorization_details"} & plain.keys()


def test_details_are_those_of_the_settings() -> None:
    """Those of each sign-in, then those of a name; for an unknown name those of each."""
    settings = ProviderSettings(
        issuer="https://id.example",
        client_id="spa",
        authorization_details=({"type": "accounts"},),
        login_authorization_details={"pay": ({"type": "payment"},)},
    )
    assert [{"type": "accounts"}] == json.loads(authorization_details(settings, "") or "")
    assert ["accounts", "payment"] == [
        each["type"] for each in json.loads(authorization_details(settings, "pay") or "")
    ]
    assert authorization_details(ProviderSettings(issuer="https://id.example", client_id="spa"), "") is None
