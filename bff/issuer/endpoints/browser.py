"""The issuer's own cookies: the sign-in, the token of its forms, and the known browser.

Rule 1: names and paths differ from every proxy's: cookies ignore ports, and both may live on `localhost`.
Rule 2: a sign-in never keeps the cookie that the browser came with.
Rule 3: a cookie goes to no path that has no use for it: an issuer under a path keeps its cookies there
(`__Secure-`); one that has a host to itself binds them to the host (`__Host-`, which asks for `Path=/`).
Rule 4: a cookie that comes twice counts as absent: a sibling host may have planted one of them.
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from bff.issuer.endpoints.http import origin_of
from bff.issuer.settings import IssuerSettings
from bff.policy.cookie_parser import cookie_values

DEVICE_KEPT: Final = 90 * 86400  # seconds in which a browser that somebody signed in with is known again
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{43}")


class Browser:
    """Reads and writes the three cookies."""

    def __init__(self, settings: IssuerSettings) -> None:
        self._secure = settings.secure
        self._origin = origin_of(settings.url)
        self._path = settings.path or "/"
        self._device_path = f"{settings.path}/sign-in"
        bound = "__Host-" if self._path == "/" else "__Secure-"
        self._session = f"{bound if self._secure else ''}issuer-session"
        self._csrf = f"{bound if self._secure else ''}issuer-csrf"
        self._device = f"{'__Secure-' if self._secure else ''}issuer-device"

    def session(self, request: Request) -> str | None:
        """The cookie of a sign-in here, or None if there is none that could be ours."""
        return self._read(request, self._session)

    def device(self, request: Request) -> str | None:
        """The cookie of a browser with an earlier sign-in."""
        return self._read(request, self._device)

    def csrf(self, request: Request) -> str:
        """The token for a form: the browser's own, so that two open pages both work, else a new one."""
        return self._read(request, self._csrf) or secrets.token_urlsafe(32)

    def form_is_ours(self, request: Request, form: Mapping[str, str]) -> bool:
        """Return True if a form was sent from a page of ours, by its token and the browser's headers."""
        token = self._read(request, self._csrf)
        if token is None or not hmac.compare_digest(token.encode(), form.get("csrf", "").encode()):
            return False
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        return request.headers.get("origin", self._origin) == self._origin

    def set_session(self, response: Response, cookie: str) -> None:
        """Signs the browser in until it is closed, or until the store forgets it."""
        self._set(response, self._session, cookie)

    def clear_session(self, response: Response) -> None:
        """Signs the browser out."""
        self._set(response, self._session, "", max_age=0)

    def set_csrf(self, response: Response, token: str) -> None:
        """Hands the form's token to the browser."""
        self._set(response, self._csrf, token)

    def set_device(self, response: Response, cookie: str) -> None:
        """Lets the browser be known at its next sign-in; the cookie goes there only."""
        response.set_cookie(
            self._device,
            cookie,
            max_age=DEVICE_KEPT,
            path=self._device_path,
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )

    def _read(self, request: Request, name: str) -> str | None:
        headers = [value for key, value in request.scope["headers"] if key == b"cookie"]
        values = cookie_values(headers, name.encode())
        value = values[0].decode("latin-1") if len(values) == 1 else ""
        return value if _OPAQUE.fullmatch(value) else None

    def _set(self, response: Response, name: str, value: str, max_age: int | None = None) -> None:
        response.set_cookie(
            name, value, max_age=max_age, path=self._path, secure=self._secure, httponly=True, samesite="lax"
        )


def asks_again(prompt: str, max_age: str | None, auth_time: int | None, now: float) -> bool:
    """Return True if a sign-in is needed: nobody is signed in, `prompt` asks for it, or it is too old."""
    if auth_time is None or {"login", "select_account"} & set(prompt.split()):
        return True
    return max_age is not None and now - auth_time > int(max_age)


def local_target(path: str, query: str) -> str:
    """The address of a form: a path of ours with the query that the browser came with."""
    return urlsplit(path)._replace(query=query).geturl()
