"""A check that the provider accepts this client: pushed requests, or a token call with a made-up code.

A request is pushed for each redirect URI; a made-up code shows nothing of these, and one is enough.

Nothing comes of either: a pushed request that no browser takes up ends within a minute or two, and no such
code exists.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bff.errors import ProviderUnavailableError
from bff.oidc import requests
from bff.oidc.client_authentication import Authentication
from bff.oidc.http import Answer, ProviderHttp
from bff.oidc.metadata import Metadata
from bff.oidc.request_object import authorization_details, signed_request
from bff.oidc.token_errors import parse_error_code, parse_error_description, refuses_client
from bff.oidc.token_response import pushed_too_long
from bff.serve.check_plan import ClientLook
from bff.serve.check_result import Check
from bff.settings.model import ProviderSettings

_NAME = "provider client"
_OK = range(200, 300)
_AT_ONCE = 8  # pushed requests
_REGISTER = "register the redirect URI {} for this client at the provider"
_SHORTER = "set the lifetime of pushed authorization requests at the provider to a minute or two"
_CREDENTIALS = (
    "compare client_id, client_secret or client_key, and client_auth with the provider's registration"
)


async def probe_clients(
    wire: ProviderHttp, settings: ProviderSettings, metadata: Metadata, clients: Sequence[ClientLook]
) -> list[Check]:
    """Asks by the way that sign-ins go, about each redirect URI that the way shows; the same finding once."""
    if not clients:
        fix = "name it in frontend.providers, or remove it"
        return [Check(_NAME, settings.issuer, True, "is used by no frontend", fix)]
    pushed = metadata.pushed_authorization_endpoint if settings.par != "never" else None
    some = asyncio.Semaphore(_AT_ONCE)

    async def probe(look: ClientLook) -> Check:
        async with some:
            check = await _probe(wire, settings, metadata, look.redirect_uri, pushed)
        return replace(check, frontend=look.frontend) if pushed else check

    found = await asyncio.gather(*map(probe, clients if pushed else clients[:1]))
    return list({(check.detail, check.fix): check for check in reversed(found)}.values())[::-1]


async def _probe(
    wire: ProviderHttp, settings: ProviderSettings, metadata: Metadata, redirect_uri: str, pushed: str | None
) -> Check:
    try:
        client = Authentication(settings, time.time).client(metadata)
    except ValueError as error:
        return Check(_NAME, settings.issuer, False, str(error), "set it")
    form = _pushed(client, settings, redirect_uri) if pushed else _spent(client, redirect_uri)
    try:
        answer = await wire.post(pushed or metadata.token_endpoint, form)
    except ProviderUnavailableError as error:
        return Check(_NAME, settings.issuer, False, str(error), "see whether its endpoints are reached")
    sent = {*requests.secrets_of(form), client.secret, client.assertion}
    found = judge(answer, settings.issuer, redirect_uri, sent, pushed=pushed is not None)
    if found.ok and pushed and settings.profile == "fapi2" and (fault := pushed_too_long(answer.json())):
        return Check(_NAME, settings.issuer, False, fault, _SHORTER)
    return found


def judge(answer: Answer, issuer: str, redirect_uri: str, sent: set[str], *, pushed: bool) -> Check:
    """The answer's statement about the client."""
    document: Any = answer.json()
    code = parse_error_code(document)
    if pushed and answer.status in _OK:
        return Check(_NAME, issuer, True, f"accepted, with its redirect URI {redirect_uri}")
    if not pushed and code == "invalid_grant":
        return Check(_NAME, issuer, True, "accepted; its redirect URI shows at a sign-in only")
    said = ": ".join(part for part in (code, parse_error_description(document, sent)) if part)
    detail = f"answered {answer.status}{f' ({said})' if said else ''}"
    if code == "invalid_client" or answer.status == 401:  # noqa: PLR2004 - RFC 6749 5.2
        return Check(_NAME, issuer, False, f"is refused: {detail}", _CREDENTIALS)
    if refuses_client(document):
        uri = code != "unauthorized_client"
        fix = _REGISTER.format(redirect_uri) if uri else "allow this client the authorization code flow"
        return Check(_NAME, issuer, False, f"is refused: {detail}", fix)
    return Check(_NAME, issuer, not pushed, detail, "see what the provider's log says about it")


def _pushed(client: requests.Client, settings: ProviderSettings, redirect_uri: str) -> requests.Form:
    fields = requests.authorization_params(
        client_id=settings.client_id,
        redirect_uri=redirect_uri,
        scopes=settings.scopes,
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        code_verifier=secrets.token_urlsafe(32),
        params=settings.extra_params,
        resource=settings.resource,
    )
    if (details := authorization_details(settings, "")) is not None:
        fields = {**fields, "authorization_details": details}
    signed = signed_request(client, fields, issuer=settings.issuer, now=int(time.time()))
    return requests.pushed_authorization_form(client, signed)


def _spent(client: requests.Client, redirect_uri: str) -> requests.Form:
    return requests.code_form(
        client,
        code=secrets.token_urlsafe(32),
        redirect_uri=redirect_uri,
        code_verifier=secrets.token_urlsafe(32),
    )
