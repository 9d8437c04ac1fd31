"""What is sent to the provider: URLs, forms, client authentication."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from bff.oidc.requests import (
    Client,
    ClientGrant,
    Fields,
    authorization_params,
    authorization_url,
    client_form,
    code_challenge,
    code_form,
    end_session_url,
    exchange_form,
    pushed_authorization_form,
    pushed_authorization_url,
    refresh_form,
    revocation_form,
)

BASIC = Client("spa-bff", "secret")
POST = Client("spa-bff", "secret", "client_secret_post")
KEY = Client("spa-bff", "", "private_key_jwt", "the.signed.jwt")
API = "https://api.example/"


def query(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)


def asked(endpoint: str = "https://id.example/authorize", **params: str) -> str:
    return authorization_url(endpoint, fields(params))


def fields(params: dict[str, str], *resource: str) -> Fields:
    return authorization_params(
        client_id="spa-bff",
        redirect_uri="https://app.example/bff/callback",
        scopes=("openid", "profile"),
        state="the-state",
        nonce="the-nonce",
        code_verifier="v" * 43,
        params=params,
        resource=resource,
    )


@pytest.mark.requirement("O-01")
def test_the_challenge_is_that_of_rfc_7636() -> None:
    """The example of RFC 7636 appendix B, and authlib's own computation, agree."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert create_s256_code_challenge(verifier) == code_challenge(verifier)


@pytest.mark.requirement("O-01", "O-07", "B-01")
def test_an_authorization_request_is_a_code_request_with_pkce() -> None:
    """Everything of OpenID Connect Core 3.1.2.1 is there once; no secret and no verifier is."""
    assert {
        "response_type": ["code"],
        "client_id": ["spa-bff"],
        "redirect_uri": ["https://app.example/bff/callback"],
        "scope": ["openid profile"],
        "state": ["the-state"],
        "nonce": ["the-nonce"],
        "code_challenge": [code_challenge("v" * 43)],
        "code_challenge_method": ["S256"],
    } == query(asked())


@pytest.mark.requirement("O-01", "O-02")
def test_nobody_overrides_what_the_protocol_owns() -> None:
    """Passed and configured parameters, and the endpoint's own query, cannot replace ours."""
    url = asked(
        "https://id.example/authorize?tenant=a&state=evil",
        redirect_uri="https://evil.example",
        code_challenge_method="plain",
        request_uri="https://evil.example",
        prompt="login",
    )
    found = query(url)
    assert ["https://app.example/bff/callback"] == found["redirect_uri"]
    assert ["S256"] == found["code_challenge_method"]
    assert ["the-state"] == found["state"]
    assert ["a"] == found["tenant"]
    assert ["login"] == found["prompt"]
    assert "request_uri" not in found


@pytest.mark.requirement("B-01", "O-13")
def test_basic_credentials_are_form_encoded_first() -> None:
    """RFC 6749 2.3.1: reserved characters survive, and none of them moves the colon."""
    form = refresh_form(Client("a:b c", "s%/é"), refresh_token="r")
    assert form.headers["authorization"] == "Basic " + base64.b64encode(b"a%3Ab+c:s%25%2F%C3%A9").decode()
    assert {"grant_type": "refresh_token", "refresh_token": "r"} == form.fields


@pytest.mark.requirement("B-01", "O-13")
def test_post_credentials_go_into_the_form() -> None:
    """With client_secret_post there is no Authorization header."""
    form = code_form(POST, code="c", redirect_uri="https://app.example/cb", code_verifier="v")
    assert form.headers == {}
    assert form.fields == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": "https://app.example/cb",
        "code_verifier": "v",
        "client_id": "spa-bff",
        "client_secret": "secret",
    }


def test_a_refresh_may_narrow_its_scope() -> None:
    """`scope` is sent only when it is given (RFC 6749 6)."""
    assert refresh_form(BASIC, refresh_token="r", scope="a b").fields["scope"] == "a b"


def test_a_revocation_names_the_kind_of_token() -> None:
    """RFC 7009 2.1."""
    form = revocation_form(BASIC, token="t", hint="refresh_token")
    assert {"token": "t", "token_type_hint": "refresh_token"} == form.fields


@pytest.mark.requirement("B-24")
def test_secrets_stay_out_of_reprs() -> None:
    """A traceback that prints these objects prints no secret."""
    form = refresh_form(Client("id", "s3cr3t"), refresh_token="r3fr3sh")
    assert "s3cr3t" not in repr(Client("id", "s3cr3t"))
    assert "r3fr3sh" not in repr(form)


@pytest.mark.requirement("L-01")
@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ({"id_token_hint": "jwt", "logout_hint": None}, {"id_token_hint": ["jwt"]}),
        ({"id_token_hint": None, "logout_hint": "alice"}, {"logout_hint": ["alice"]}),
        ({"id_token_hint": None, "logout_hint": None}, {}),
    ],
)
def test_the_end_session_url(hints: dict[str, str | None], expected: dict[str, list[str]]) -> None:
    """RP-Initiated Logout 2, with an ID token or without it."""
    url = end_session_url(
        "https://id.example/end?x=1",
        client_id="spa-bff",
        post_logout_redirect_uri="https://app.example/",
        **hints,
    )
    own = {"x": ["1"], "client_id": ["spa-bff"], "post_logout_redirect_uri": ["https://app.example/"]}
    assert own | expected == query(url)


@pytest.mark.requirement("O-13")
def test_an_assertion_stands_where_a_secret_would() -> None:
    """RFC 7523 2.2: type and assertion, the client's name, and no secret in either place."""
    form = refresh_form(KEY, refresh_token="r")
    assert {} == form.headers
    assert {
        "grant_type": "refresh_token",
        "refresh_token": "r",
        "client_id": "spa-bff",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "the.signed.jwt",
    } == form.fields
    assert "signed" not in repr(KEY)


@pytest.mark.requirement("O-14")
def test_a_pushed_request_leaves_two_parameters_in_the_address() -> None:
    """RFC 9126 2.1 and 4: all of it is posted, authenticated; the browser carries a reference."""
    form = pushed_authorization_form(POST, fields({"prompt": "login"}))
    assert {"client_secret": "secret", "prompt": "login", "state": "the-state"}.items() <= form.fields.items()
    url = pushed_authorization_url("https://id.example/a?x=1", client_id="spa-bff", request_uri="urn:a:b")
    assert {"x": ["1"], "client_id": ["spa-bff"], "request_uri": ["urn:a:b"]} == query(url)


@pytest.mark.requirement("O-15")
def test_resources_are_named_in_every_request_for_a_token() -> None:
    """RFC 8707 2: in the authorization request and at the token endpoint, each by itself; else not at all."""
    url = authorization_url(
        "https://id.example/a", fields({"resource": "https://evil.example/"}, API, "urn:b")
    )
    assert [API, "urn:b"] == query(url)["resource"]
    code = code_form(BASIC, code="c", redirect_uri="https://app/cb", code_verifier="v", resource=(API,))
    refresh = refresh_form(BASIC, refresh_token="r", resource=[API, "urn:b"])
    assert ((API,), (API, "urn:b")) == (code.fields["resource"], refresh.fields["resource"])
    assert "resource" not in refresh_form(BASIC, refresh_token="r").fields
    assert "resource" not in query(asked(resource="https://evil.example/"))


def test_an_exchange_asks_for_an_access_token_for_one_audience() -> None:
    """RFC 8693 2.1."""
    assert {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "the-access-token",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": "orders",
    } == exchange_form(BASIC, access_token="the-access-token", audience="orders").fields


def test_a_token_in_our_own_name() -> None:
    """RFC 6749 4.4.2: the grant, and what the token is for, where that is set; never anything of a user."""
    plain = client_form(BASIC, ClientGrant())
    assert {"grant_type": "client_credentials"} == plain.fields
    assert "authorization" in plain.headers
    whole = client_form(POST, ClientGrant(("a", "b"), (API, "https://other.example"), "orders"))
    assert {
        "grant_type": "client_credentials",
        "scope": "a b",
        "audience": "orders",
        "resource": (API, "https://other.example"),
        "client_id": "spa-bff",
        "client_secret": "secret",
    } == whole.fields


@pytest.mark.requirement("P-04")
def test_a_certificate_needs_no_word_in_the_form() -> None:
    """The connection is the proof: the form names the client and nothing else (RFC 8705 2)."""
    client = Client("spa-bff", "", "tls_client_auth")
    form = revocation_form(client, token="t", hint="refresh_token")
    assert ({}, {"token": "t", "token_type_hint": "refresh_token", "client_id": "spa-bff"}) == (
        form.headers,
        form.fields,
    )
