"""The page between callback and finish: the code leaves the address bar, and finish is loaded (O-16)."""

from collections.abc import Sequence

from starlette.responses import Response

from bff.web.responses import NO_STORE

FINISH = "/bff/callback/finish"
_PAGE = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>Signing in</title>'
    b'<p><a href="/bff/callback/finish">Continue</a></p></html>'
)
_PAGE_HEADERS = {
    **NO_STORE,
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
}


def callback_page(*, retry: bool, set_cookies: Sequence[str]) -> Response:
    """The page, which goes on by itself; `retry` says whether finish may begin the sign-in anew."""
    target = FINISH if retry else f"{FINISH}?retry=no"
    response = Response(_PAGE, 200, {**_PAGE_HEADERS, "refresh": f"0; url={target}"})
    for value in set_cookies:
        response.headers.append("set-cookie", value)
    return response
