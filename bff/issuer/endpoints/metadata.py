"""The issuer's metadata (OpenID Connect Discovery 1.0, RFC 8414): only features that work here."""

from collections.abc import Iterable

from bff.issuer.grants import client_auth
from bff.issuer.grants.clients import AUTH_METHODS, CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from bff.issuer.grants.proofs import ALGORITHMS as DPOP_ALGORITHMS
from bff.issuer.grants.tokens import ACR
from bff.issuer.settings import SCOPES

JWT_SIGNING = list(client_auth.ALGORITHMS)


def discovery_document(url: str, algorithms: Iterable[str]) -> dict[str, object]:
    """The metadata.

    Args:
        url: the issuer identifier.
        algorithms: those of the keys that sign now or soon.
    """
    document: dict[str, object] = {
        "issuer": url,
        "authorization_endpoint": f"{url}/authorize",
        "pushed_authorization_request_endpoint": f"{url}/par",
        "token_endpoint": f"{url}/token",
        "userinfo_endpoint": f"{url}/userinfo",
        "jwks_uri": f"{url}/jwks",
        "revocation_endpoint": f"{url}/revoke",
        "introspection_endpoint": f"{url}/introspect",
        "end_session_endpoint": f"{url}/end-session",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", TOKEN_EXCHANGE, CLIENT_CREDENTIALS],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted(set(algorithms)),
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "select_account"],
        "acr_values_supported": [ACR],
        "dpop_signing_alg_values_supported": list(DPOP_ALGORITHMS),
        "claims_supported": ["sub", "name", "email", "auth_time", "acr", "amr", "sid", "nonce"],
        "authorization_response_iss_parameter_supported": True,
        "require_pushed_authorization_requests": False,
        "claims_parameter_supported": False,
        "request_parameter_supported": True,
        "request_object_signing_alg_values_supported": JWT_SIGNING,
        "require_signed_request_object": False,
        "request_uri_parameter_supported": False,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
    }
    for endpoint in ("token", "revocation", "introspection"):
        document[f"{endpoint}_endpoint_auth_methods_supported"] = list(AUTH_METHODS)
        document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = JWT_SIGNING
    return document
