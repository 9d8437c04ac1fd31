"""What `bff check` makes of a discovery document where the settings demand much."""

from typing import Any

import pytest

from bff.serve.provider_demands import read_demands
from bff.settings.model import ProviderSettings, RouteSettings

FAPI = {
    "pushed_authorization_request_endpoint": "https://id.example/par",
    "authorization_response_iss_parameter_supported": True,
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
    "id_token_signing_alg_values_supported": ["RS256", "PS256"],
    "dpop_signing_alg_values_supported": ["EdDSA"],
    "userinfo_endpoint": "https://id.example/me",
}
BOUND = {"tls_client_certificate_bound_access_tokens": True}


def found(document: dict[str, Any], acr: str = "", **settings: Any) -> list[tuple[str, bool, str, bool]]:
    """Name, verdict and detail of each check, and True where it gives advice."""
    provider = ProviderSettings(issuer="https://id.example", client_id="spa", **settings)
    fields = {"path": "/api", "upstream": "http://127.0.0.1:1", **({"acr": acr} if acr else {})}
    checks = read_demands(document, provider, [RouteSettings.model_validate(fields)])
    return [(check.name, check.ok, check.detail, bool(check.fix)) for check in checks]


@pytest.mark.requirement("P-05")
def test_a_provider_of_the_profile() -> None:
    """What the profile asks for is there: one line says so."""
    good = [("provider FAPI 2.0", True, "offers all that the profile asks for", False)]
    assert good == found(FAPI, profile="fapi2")
    by_certificate = {"token_binding": "mtls", "client_auth": "tls_client_auth"}
    assert good == found(FAPI | BOUND, profile="fapi2", **by_certificate)
    assert [] == found(FAPI)


@pytest.mark.requirement("P-05")
def test_each_lack_is_told_by_its_name() -> None:
    """A provider that has nothing of it fails by each member that is missing."""
    lacks = [detail for _, ok, detail, _ in found({"userinfo_endpoint": "x"}, profile="fapi2") if not ok]
    assert [
        "lacks pushed_authorization_request_endpoint",
        "lacks authorization_response_iss_parameter_supported",
        "lacks code_challenge_methods_supported: S256",
        "lacks token_endpoint_auth_signing_alg_values_supported with one of PS256, ES256, EdDSA, Ed25519",
        "lacks id_token_signing_alg_values_supported with one of PS256, ES256, EdDSA, Ed25519",
        "lacks dpop_signing_alg_values_supported with one of PS256, ES256, EdDSA, Ed25519",
    ] == lacks
    bound = found(FAPI, profile="fapi2", token_binding="mtls", client_auth="tls_client_auth")
    assert ["lacks tls_client_certificate_bound_access_tokens: true"] == [detail for _, _, detail, _ in bound]
    here = {"pushed_authorization_request_endpoint": None}
    named = "https://id.example/par"
    assert [True] == [
        ok for _, ok, _, _ in found(FAPI | here, profile="fapi2", pushed_authorization_request_endpoint=named)
    ]


@pytest.mark.parametrize(
    ("document", "settings", "expected"),
    [
        ({"require_signed_request_object": True}, {}, [("provider JAR", False)]),
        ({}, {"request_object": True}, [("provider JAR", True)]),
        ({"request_parameter_supported": False}, {"request_object": True}, [("provider JAR", False)]),
        ({}, {"authorization_details": [{"type": "a"}]}, [("provider RAR", True)]),
        ({"authorization_details_types_supported": ["a"]}, {"authorization_details": [{"type": "a"}]}, []),
        ({}, {"acr_required": ["gold"]}, [("provider acr", True)]),
        ({"acr_values_supported": ["silver"]}, {"acr": "gold"}, [("provider acr", True)]),
        ({"acr_values_supported": []}, {"acr": "gold"}, [("provider acr", True)]),
        ({"acr_values_supported": ["gold"]}, {"acr": "gold"}, [("provider acr", True)]),
        ({"userinfo_endpoint": None}, {}, [("provider userinfo", True)]),
        ({"userinfo_endpoint": None}, {"userinfo": "always"}, [("provider userinfo", False)]),
        ({"userinfo_endpoint": None}, {"userinfo": "never"}, []),
        ({"userinfo_endpoint": None}, {"userinfo_endpoint": "https://id.example/me"}, []),
    ],
    ids=str,
)
def test_other_demands(
    document: dict[str, Any], settings: dict[str, Any], expected: list[tuple[str, bool]]
) -> None:
    """Signed requests, authorization details, acr, userinfo: a lack is said before a sign-in fails."""
    whole = {"userinfo_endpoint": "https://id.example/me", **document}
    assert expected == [(name, ok) for name, ok, _, _ in found(whole, **settings)]
