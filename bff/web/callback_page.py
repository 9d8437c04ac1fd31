"""The callback's address, and the page between it and finish.

By it the code leaves the address bar, and finish is loaded (O-16).
"""

from collections.abc import Sequence

from starlette.responses import Response

from bff.oidc.metadata import Metadata
from bff.settings.model import ProviderSettings, ServerSettings
from bff.web.login_transaction import Returned, Transaction
from bff.web.responses import NO_STORE

CALLBACK = "/bff/callback"
FINISH = "/bff/callback/finish"
OWN_CALLBACK = "/bff/callback/{provider}"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Signing in</title>'
    '<p><a href="{finish}">Continue</a></p></html>'
)
_PAGE_HEADERS = {
    **NO_STORE,
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
}


def has_own_callback(provider: ProviderSettings, *, several: bool) -> bool:
    """Return True if a provider answers at a path of its own: where there are `several` that is the default.

    So no provider can pass on another's code as its own (mix-up, RFC 9700 4.4.2).
    """
    return provider.callback == "own" or (provider.callback is None and several)


def asked_for_own(transaction: Transaction, provider: ProviderSettings, *, several: bool) -> bool:
    """Return True if a sign-in was sent out with the provider's own callback.

    Other settings may be in force since: the transaction says it, for one of a former version the settings.
    """
    own = transaction.own_callback
    return has_own_callback(provider, several=several) if own is None else own


def redirect_uri(server: ServerSettings, provider: ProviderSettings, *, own: bool) -> str:
    """The redirect URI that a provider has to know; `own`: the one that no other provider has."""
    return server.public_url.rstrip("/") + server.base_path + CALLBACK + (f"/{provider.name}" if own else "")


def another_answered(
    provider: ProviderSettings, metadata: Metadata, answer: Returned, *, own: bool, several: bool
) -> str | None:
    """Returns why an answer is not of the provider that was asked (RFC 9207); None if it is.

    `own`: it was asked to answer at its own callback; `several`: there are other providers by now.
    """
    if answer.via != (provider.name if own else ""):
        return "mixed_up"
    shared = several and not own  # with others, so that only `iss` tells whose answer it is
    demanded = shared or provider.profile == "fapi2"
    stated = answer.iss is not None or metadata.iss_parameter_supported or demanded
    return "iss" if stated and answer.iss != provider.issuer else None


def callback_page(base_path: str, *, retry: bool, set_cookies: Sequence[str]) -> Response:
    """The page, which goes on by itself; `retry` says whether finish may begin the sign-in anew."""
    finish = base_path + FINISH
    target = finish if retry else f"{finish}?retry=no"
    response = Response(_PAGE.format(finish=finish), 200, {**_PAGE_HEADERS, "refresh": f"0; url={target}"})
    for value in set_cookies:
        response.headers.append("set-cookie", value)
    return response
