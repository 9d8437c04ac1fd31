"""The callback's address, and the page between it and finish.

By it the code leaves the address bar, and finish is loaded (O-16).
"""

from collections.abc import Sequence

from starlette.responses import Response

from bff.settings.model import ServerSettings
from bff.web.responses import NO_STORE

CALLBACK = "/bff/callback"
FINISH = "/bff/callback/finish"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Signing in</title>'
    '<p><a href="{finish}">Continue</a></p></html>'
)
_PAGE_HEADERS = {
    **NO_STORE,
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
}


def redirect_uri(server: ServerSettings) -> str:
    """The redirect URI that the provider has to know."""
    return server.public_url.rstrip("/") + server.base_path + CALLBACK


def callback_page(base_path: str, *, retry: bool, set_cookies: Sequence[str]) -> Response:
    """The page, which goes on by itself; `retry` says whether finish may begin the sign-in anew."""
    finish = base_path + FINISH
    target = finish if retry else f"{finish}?retry=no"
    response = Response(_PAGE.format(finish=finish), 200, {**_PAGE_HEADERS, "refresh": f"0; url={target}"})
    for value in set_cookies:
        response.headers.append("set-cookie", value)
    return response
