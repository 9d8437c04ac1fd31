"""What `bff check` makes of a discovery document."""

from typing import Any

import pytest

from bff.oidc.requests import TOKEN_EXCHANGE
from bff.serve.provider_capabilities import read_offers
from bff.settings.model import ProviderSettings, RouteSettings

GOOD = {
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "scopes_supported": ["openid", "profile", "email"],
    "userinfo_endpoint": "https://id.example/me",
}
PAR = {"pushed_authorization_request_endpoint": "https://id.example/par"}
REQUIRED = {"require_pushed_authorization_requests": True}


def found(
    document: dict[str, Any],
    audience: str | None = None,
    token: Any = None,
    *,
    bearer: dict[str, Any] | None = None,
    **settings: Any,
) -> dict[str, bool]:
    """Each check's verdict; a mark where it has advice."""
    provider = ProviderSettings(issuer="https://id.example", client_id="spa", **settings)
    route = RouteSettings.model_validate(
        {"path": "/api", "upstream": "http://127.0.0.1:1", "audience": audience, "token": token}
        | (bearer or {})
    )
    checks = read_offers(GOOD | document, provider, [route])
    return {check.name + ("!" if check.fix else ""): check.ok for check in checks}


@pytest.mark.requirement("O-14")
@pytest.mark.parametrize(
    ("document", "par", "expected"),
    [
        ({}, "auto", {}),
        (PAR, "auto", {"provider PAR": True}),
        (PAR, "never", {}),
        (PAR | REQUIRED, "never", {"provider PAR!": False}),
        (REQUIRED, "auto", {"provider PAR!": False}),
        ({}, "always", {"provider PAR!": False}),
        (PAR, "always", {"provider PAR": True}),
    ],
)
def test_pushed_requests(document: dict[str, Any], par: str, expected: dict[str, bool]) -> None:
    """What the setting and the provider together rule out is said before anybody signs in."""
    assert {"provider PKCE": True} | expected == found(document, par=par)


@pytest.mark.requirement("O-13")
def test_authentication_by_a_key() -> None:
    """Where it is not offered the check fails."""
    assert {"provider PKCE": True} == found({}, client_auth="private_key_jwt")
    only_secrets = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    assert not found(only_secrets, client_auth="private_key_jwt")["provider auth!"]


@pytest.mark.requirement("P-04")
def test_tokens_bound_to_the_certificate() -> None:
    """Where the provider does not say that it binds them the check fails."""
    bound = {"tls_client_certificate_bound_access_tokens": True}
    assert found(bound, token_binding="mtls")["provider binding"]
    assert not found({}, token_binding="mtls")["provider binding!"]
    assert "provider binding" not in found(bound)


@pytest.mark.requirement("P-03")
def test_tokens_bound_to_a_key() -> None:
    """Where the provider takes no proofs, or none by our algorithm, the check fails."""
    takes = {"dpop_signing_alg_values_supported": ["ES256"]}
    assert found(takes, token_binding="dpop")["provider binding"]
    assert not found(takes, token_binding="dpop", dpop_alg="EdDSA")["provider binding!"]
    assert not found({}, token_binding="dpop")["provider binding!"]


def test_questions_about_tokens() -> None:
    """A route that asks the provider about clients' tokens refuses them all where there is no endpoint."""
    asks: Any = {"auth": "session or bearer", "bearer_audience": "a", "bearer_introspection": True}
    offered = {"introspection_endpoint": "https://id.example.com/introspect"}
    assert found(offered, bearer=asks)["provider introspection"]
    assert not found({}, bearer=asks)["provider introspection!"]
    elsewhere = asks | {"bearer_issuer": "https://other.example"}
    assert "provider introspection!" not in found({}, bearer=elsewhere)
    assert "provider introspection" not in found(offered)


def test_token_exchange() -> None:
    """It is looked for where a route needs it; what is not mentioned may be there all the same."""
    offered = {"grant_types_supported": ["authorization_code", TOKEN_EXCHANGE]}
    assert "provider exchange" not in found(offered)
    assert found(offered, audience="orders")["provider exchange"]
    assert found({}, audience="orders")["provider exchange!"]
    assert not [name for name in found({}, audience="orders", token="minted") if "exchange" in name]


def test_tokens_in_our_own_name() -> None:
    """Likewise; such a route's audience asks for no exchange."""
    offered = {"grant_types_supported": ["client_credentials"]}
    assert found(offered, audience="orders", token="client")["provider client"]
    checks = found({}, audience="orders", token="client")
    assert checks["provider client!"]
    assert not {"provider exchange", "provider exchange!"} & set(checks)


@pytest.mark.requirement("O-01")
@pytest.mark.parametrize(
    ("document", "scopes", "mentioned"),
    [
        ({"scopes_supported": ["openid", "offline_access"]}, ("openid",), True),
        ({"scopes_supported": ["openid", "offline_access"]}, ("openid", "offline_access"), False),
        ({"grant_types_supported": ["authorization_code"]}, ("openid",), True),
        ({"grant_types_supported": ["authorization_code", "refresh_token"]}, ("openid",), False),
        ({}, ("openid",), False),
    ],
)
def test_offline_access_is_advised(
    document: dict[str, Any], scopes: tuple[str, ...], mentioned: bool
) -> None:
    """From discovery: it is offered and not asked for, or there are no refresh tokens; advice, no failure."""
    settings = ProviderSettings(issuer="https://id.example", client_id="spa", scopes=scopes)
    checks = [each for each in read_offers(document, settings, ()) if each.name == "provider refresh"]
    assert mentioned == bool(checks)
    assert all(each.ok and "offline_access" in each.fix for each in checks)


def test_what_everybody_needs() -> None:
    """No S256 is a failure; what is not mentioned, or a scope that is not, is advice."""
    assert {"provider PKCE!": False} == found({"code_challenge_methods_supported": ["plain"]})
    assert {"provider PKCE!": True} == found({"code_challenge_methods_supported": None})
    assert {"provider PKCE": True, "provider scopes!": True} == found({"scopes_supported": ["openid"]})
