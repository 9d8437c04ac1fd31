"""The comparison of a provider's discovery document with the settings. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bff.oidc.requests import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from bff.serve.check_result import Check, names_of
from bff.serve.provider_demands import read_demands
from bff.settings.model import ProviderSettings, RouteSettings

_GRANTS = (
    ("exchange", TOKEN_EXCHANGE, "token exchange (RFC 8693)", "route.audience"),
    ("client", CLIENT_CREDENTIALS, "client credentials (RFC 6749 4.4)", 'token = "client"'),
)
"""Kinds of tokens, with the grant that brings each, its name, and the setting that asks for it."""


def read_offers(
    document: Mapping[str, Any], settings: ProviderSettings, routes: Sequence[RouteSettings]
) -> list[Check]:
    """Returns a finding for each needed capability, offered or not; one that is not mentioned is advice."""
    return [
        *_pkce(document, settings.issuer),
        *_authentication(document, settings),
        *_scopes(document, settings),
        *_offline(document, settings),
        *_pushed(document, settings),
        *_grants(document, settings.issuer, routes),
        *_introspection(document, settings.issuer, routes),
        *read_demands(document, settings, routes),
    ]


def _pkce(document: Mapping[str, Any], issuer: str) -> Iterator[Check]:
    methods = names_of(document, "code_challenge_methods_supported")
    if methods is None:
        fix = "make sure that it supports PKCE with S256"
        yield Check("provider PKCE", issuer, True, "is not mentioned", fix)
    elif "S256" in methods:
        yield Check("provider PKCE", issuer, True, "S256")
    else:
        fix = "turn PKCE with S256 on at the provider"
        yield Check("provider PKCE", issuer, False, "S256 is not offered", fix)


def _authentication(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[Check]:
    ways = names_of(document, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    if settings.client_auth not in ways:
        fix = f"set provider.client_auth to what it offers: {', '.join(ways)}"
        yield Check("provider auth", settings.issuer, False, f"{settings.client_auth} is not offered", fix)
    if settings.token_binding == "mtls":  # noqa: S105 - a way, and no password
        offered = document.get("tls_client_certificate_bound_access_tokens") is True
        detail = "tokens are bound to the certificate" if offered else "does not mention bound tokens"
        fix = "" if offered else "turn certificate-bound access tokens on at the provider (RFC 8705 3)"
        yield Check("provider binding", settings.issuer, offered, detail, fix)

    if settings.over_dpop():
        yield _dpop(document, settings)


def _dpop(document: Mapping[str, Any], settings: ProviderSettings) -> Check:
    algs, alg = names_of(document, "dpop_signing_alg_values_supported"), settings.dpop_alg
    if algs is None:
        fix = "turn DPoP on at the provider (RFC 9449): without it nobody can sign in"
        return Check("provider binding", settings.issuer, False, "does not mention DPoP", fix)
    if alg not in algs:
        fix = f"set provider.dpop_alg to what it takes: {', '.join(algs)}"
        return Check("provider binding", settings.issuer, False, f"takes no proofs by {alg}", fix)
    return Check("provider binding", settings.issuer, True, f"tokens are bound to each session's key, {alg}")


def _scopes(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[Check]:
    scopes = names_of(document, "scopes_supported")
    if scopes is not None and (missing := [scope for scope in settings.scopes if scope not in scopes]):
        fix = "see whether the provider names them otherwise"
        yield Check("provider scopes", settings.issuer, True, f"does not mention {', '.join(missing)}", fix)


def _offline(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[Check]:
    """Looks for `offline_access`: without it some providers give no refresh token, others a worse one."""
    if "offline_access" in settings.scopes:
        return
    scopes, grants = (names_of(document, f"{name}_supported") for name in ("scopes", "grant_types"))
    if scopes and "offline_access" in scopes:
        detail = "offers offline_access, which is not asked for"
    elif grants is not None and "refresh_token" not in grants:
        detail = "does not mention refresh tokens"
    else:
        return
    fix = 'if the log says no_refresh_token after a sign-in, add "offline_access" to provider.scopes'
    yield Check("provider refresh", settings.issuer, True, detail, fix)


def _pushed(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[Check]:
    offered = document.get("pushed_authorization_request_endpoint") is not None
    required = document.get("require_pushed_authorization_requests") is True
    if settings.par == "never":
        if required:
            fix = 'set provider.par = "auto"'
            yield Check("provider PAR", settings.issuer, False, "it takes nothing but pushed requests", fix)
    elif offered:
        yield Check("provider PAR", settings.issuer, True, "requests are pushed")
    elif required or settings.par == "always":
        fix = 'set provider.par = "auto", or turn pushed authorization requests on at the provider'
        yield Check("provider PAR", settings.issuer, False, "has no endpoint for pushed requests", fix)


def _introspection(
    document: Mapping[str, Any], issuer: str, routes: Sequence[RouteSettings]
) -> Iterator[Check]:
    """The endpoint by which routes ask about clients' own tokens; without it all of them are refused."""
    asked = any(
        route.takes_bearer() and route.bearer_introspection and route.bearer_issuer in (None, issuer)
        for route in routes
    )
    if asked and document.get("introspection_endpoint") is None:
        fix = "turn token introspection on at the provider (RFC 7662), or route.bearer_introspection off"
        yield Check("provider introspection", issuer, False, "has no endpoint for it", fix)
    elif asked:
        yield Check("provider introspection", issuer, True, "offered")


def _grants(document: Mapping[str, Any], issuer: str, routes: Sequence[RouteSettings]) -> Iterator[Check]:
    """The grants that routes need for tokens of their own."""
    kinds = {route.token_kind() for route in routes}
    grants = names_of(document, "grant_types_supported") or []
    for kind, grant, called, needed_by in _GRANTS:
        if kind in kinds and grant in grants:
            yield Check(f"provider {kind}", issuer, True, "offered")
        elif kind in kinds:
            fix = f"make sure that it offers {called}, which {needed_by} needs"
            yield Check(
                f"provider {kind}", issuer, True, f"{called.partition(' (')[0]} is not mentioned", fix
            )
