"""Checks of `[provider]`: its addresses, the client, and the parameters of a sign-in. Pure."""

import re
from collections.abc import Iterator

from bff.settings.client_key import check_client_auth
from bff.settings.fapi2 import check_fapi2
from bff.settings.model import ProviderSettings
from bff.settings.problem import Finding, complaint_about
from bff.settings.url_check import (
    endpoint_complaint,
    issuer_complaint,
    proxy_complaint,
    resource_complaint,
)

LOGIN_PARAMS = ("prompt", "login_hint", "acr_values", "max_age", "ui_locales")
"""Parameters that a page may pass to the provider at sign-in (OpenID Connect Core 3.1.2.1)."""

ID_TOKEN_ALGS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""Signature algorithms with a public key (RFC 8725 3.1, 3.2): never `none`, never HMAC."""

OWN_PARAMS = frozenset(
    {
        "authorization_details", "claims", "client_assertion", "client_assertion_type", "client_id",
        "client_secret", "code", "code_challenge", "code_challenge_method", "dpop_jkt", "nonce",
        "redirect_uri", "request", "request_uri", "resource", "response_mode", "response_type", "scope",
        "state",
    }
)  # fmt: skip
"""Authorization parameters that the proxy alone sets; the request builder drops them all the same."""

PROVIDER_URLS = (
    "discovery_url", "authorization_endpoint", "token_endpoint", "jwks_uri", "revocation_endpoint",
    "end_session_endpoint", "userinfo_endpoint", "pushed_authorization_request_endpoint",
    "signals_jwks_uri",
)  # fmt: skip
"""Addresses at the provider that can be set by hand."""

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_PARAM = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}", re.ASCII)
_NEVER_PASSED = frozenset({"return_to", "id_token_hint", "registration", "code_verifier"})


def check_provider(provider: ProviderSettings) -> Iterator[Finding]:
    """Findings about the provider alone."""
    yield from complaint_about("provider.issuer", issuer_complaint(provider.issuer))
    if provider.signals_issuer is not None:
        yield from complaint_about("provider.signals_issuer", issuer_complaint(provider.signals_issuer))
    for name in PROVIDER_URLS:
        if (url := getattr(provider, name)) is not None:
            yield from complaint_about(f"provider.{name}", endpoint_complaint(url))
    if provider.proxy is not None:
        yield from complaint_about("provider.proxy", proxy_complaint(provider.proxy.get_secret_value()))
    if not provider.client_id:
        yield Finding(
            "provider.client_id", "is empty", "use the id that the provider registered the proxy under"
        )
    yield from check_client_auth(provider)
    yield from check_fapi2(provider)
    yield from _scopes(provider)
    if unknown := [name for name in provider.login_params if not _may_pass(name)]:
        yield Finding(
            "provider.login_params",
            f"names parameters that a page must not choose: {', '.join(unknown)}",
            f"name {', '.join(LOGIN_PARAMS)}, or what your provider knows beside them, as domain_hint",
        )
    for number, resource in enumerate(provider.resource):
        yield from complaint_about(f"provider.resource[{number}]", resource_complaint(resource))
    if taken := sorted(OWN_PARAMS & provider.extra_params.keys()):
        yield Finding(
            "provider.extra_params",
            f"names parameters that the proxy itself sets: {', '.join(taken)}",
            "remove it there",
        )
    if not provider.id_token_algs or any(alg not in ID_TOKEN_ALGS for alg in provider.id_token_algs):
        yield Finding(
            "provider.id_token_algs",
            "must name signature algorithms with a public key: `none` and HMAC (HS…) are never accepted",
            f"choose among {', '.join(ID_TOKEN_ALGS)}",
        )


def _may_pass(name: str) -> bool:
    return bool(_PARAM.fullmatch(name)) and name not in OWN_PARAMS | _NEVER_PASSED


def _scopes(provider: ProviderSettings) -> Iterator[Finding]:
    if "openid" not in provider.scopes:
        yield Finding(
            "provider.scopes",
            "does not contain openid: there would be no ID token that says who signed in",
            'add "openid"',
        )
    if any(not _SCOPE.fullmatch(scope) for scope in provider.scopes):
        yield Finding(
            "provider.scopes",
            "holds a scope with blanks, quotes or other forbidden characters (RFC 6749 3.3)",
            "write each scope as an item of its own",
        )
