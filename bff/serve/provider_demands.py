"""The comparison of a discovery document with demands of the settings: FAPI 2.0, JAR, RAR, acr. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bff.serve.check_result import Check, names_of
from bff.settings.model import ProviderSettings, RouteSettings
from bff.settings.value_types import FAPI2_ALGS

_MTLS_BOUND = "tls_client_certificate_bound_access_tokens"


def read_demands(
    document: Mapping[str, Any], settings: ProviderSettings, routes: Sequence[RouteSettings]
) -> list[Check]:
    """Returns a finding for each demand: met by the document, not met, or not mentioned."""
    return [
        *_fapi2(document, settings),
        *_signed(document, settings),
        *_details(document, settings),
        *_acr(document, settings, routes),
        *_userinfo(document, settings),
    ]


def _fapi2(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[Check]:
    """Returns the members of the document that FAPI 2.0 asks for and the provider lacks, by their names."""
    if settings.profile != "fapi2":
        return
    lacks = list(_lacks(document, settings))
    for member, fix in lacks:
        yield Check("provider FAPI 2.0", settings.issuer, False, f"lacks {member}", fix)
    if not lacks:
        yield Check("provider FAPI 2.0", settings.issuer, True, "offers all that the profile asks for")


def _lacks(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[tuple[str, str]]:
    endpoint = "pushed_authorization_request_endpoint"
    if document.get(endpoint) is None and settings.pushed_authorization_request_endpoint is None:
        yield endpoint, "turn pushed authorization requests on at the provider (RFC 9126)"
    if document.get("authorization_response_iss_parameter_supported") is not True:
        yield (
            "authorization_response_iss_parameter_supported",
            "turn iss in authorization responses on (RFC 9207): without it no sign-in is taken",
        )
    if "S256" not in (names_of(document, "code_challenge_methods_supported") or []):
        yield "code_challenge_methods_supported: S256", "turn PKCE with S256 on at the provider"
    if settings.client_auth == "private_key_jwt":
        yield from _lacks_alg(
            document, "token_endpoint_auth_signing_alg_values_supported", "for the client's assertions"
        )
    yield from _lacks_alg(document, "id_token_signing_alg_values_supported", "for ID tokens")
    if settings.token_binding == "dpop":  # noqa: S105 - a way, and no password
        yield from _lacks_alg(document, "dpop_signing_alg_values_supported", "for DPoP (RFC 9449)")
    elif document.get(_MTLS_BOUND) is not True:
        yield f"{_MTLS_BOUND}: true", "turn certificate-bound access tokens on (RFC 8705 3)"


def _lacks_alg(document: Mapping[str, Any], member: str, purpose: str) -> Iterator[tuple[str, str]]:
    if not set(FAPI2_ALGS) & set(names_of(document, member) or []):
        algs = ", ".join(FAPI2_ALGS)
        yield f"{member} with one of {algs}", f"turn one of them on at the provider {purpose}"


def _signed(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[Check]:
    required = document.get("require_signed_request_object") is True
    if not settings.request_object:
        if required:
            fix = "set provider.request_object = true"
            yield Check("provider JAR", settings.issuer, False, "it takes nothing but signed requests", fix)
    elif document.get("request_parameter_supported") is False:
        fix = (
            "turn signed authorization requests on at the provider (RFC 9101), or provider.request_object off"
        )
        yield Check("provider JAR", settings.issuer, False, "does not take signed requests", fix)
    else:
        yield Check("provider JAR", settings.issuer, True, "requests are signed")


def _details(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[Check]:
    known = names_of(document, "authorization_details_types_supported") or []
    if missing := [each for each in settings.detail_types() if each not in known]:
        fix = "see whether the provider takes authorization_details of that type (RFC 9396)"
        yield Check("provider RAR", settings.issuer, True, f"does not mention {', '.join(missing)}", fix)


def _acr(
    document: Mapping[str, Any], settings: ProviderSettings, routes: Sequence[RouteSettings]
) -> Iterator[Check]:
    """An `acr` that is demanded and that no sign-in will have fails each sign-in."""
    wanted = dict.fromkeys([*settings.acr_required, *(acr for route in routes for acr in route.acr)])
    if not wanted:
        return
    known = names_of(document, "acr_values_supported")
    if known is None:
        fix = "make sure that its ID tokens say acr: many providers send it only if told to"
        yield Check("provider acr", settings.issuer, True, "acr_values_supported is not mentioned", fix)
    elif missing := [acr for acr in wanted if acr not in known]:
        fix = f"see whether the provider names them otherwise; it offers {', '.join(known) or 'none'}"
        yield Check("provider acr", settings.issuer, True, f"does not mention {', '.join(missing)}", fix)
    else:
        yield Check("provider acr", settings.issuer, True, "offers each acr that is demanded")


def _userinfo(document: Mapping[str, Any], settings: ProviderSettings) -> Iterator[Check]:
    """Claims that are only there cannot be had without the endpoint."""
    if settings.userinfo == "never" or settings.userinfo_endpoint is not None:
        return
    if document.get("userinfo_endpoint") is None:
        sure = settings.userinfo == "auto"
        fix = 'set provider.userinfo = "never"; claims then come by the ID token alone'
        yield Check("provider userinfo", settings.issuer, sure, "has no userinfo endpoint", fix)
