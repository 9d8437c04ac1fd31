"""Sign-out that a client starts (OpenID Connect RP-Initiated Logout 1.0).

Rule 1: a request without an ID token of the signed-in user (`id_token_hint`) leads to a page that asks:
a foreign page must not sign anybody out. A `logout_hint` proves nothing: a `sub` stands in every access
token, in the clients' data and logs, and `client_id` in the address of every sign-in.
Rule 2: the browser goes on only to an address that the client has registered to the letter.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from bff.issuer.context import IssuerContext
from bff.issuer.endpoints.browser import local_target
from bff.issuer.endpoints.http import (
    BadRequestError,
    check_is_navigation,
    origin_of,
    parse_parameters,
    read_form,
    redirect,
    with_parameters,
)
from bff.issuer.grants.clients import Client
from bff.issuer.grants.engine import EndUser


@dataclass(frozen=True, slots=True)
class _Wish:
    """A sign-out request: the subject of the ID token that came along, and where to go afterwards."""

    client: Client | None
    proven: str | None
    target: str | None


class EndSessionEndpoint:
    """`/end-session` and the form of its page, `/sign-out`."""

    def __init__(self, context: IssuerContext) -> None:
        self._context = context

    async def end_session(self, request: Request) -> Response:
        """Signs out and goes on, or asks first."""
        check_is_navigation(request)
        query = request.url.query
        parameters = await read_form(request) if request.method == "POST" else parse_parameters(query)
        wish = await run_in_threadpool(self._read, parameters)
        cookie = self._context.browser.session(request)
        user = await run_in_threadpool(self._context.end_user, cookie)
        if user is None:
            return self._done(wish)
        if not _proves(wish, user):
            return self._ask(request, user, wish, parameters)
        return await self._sign_out(user, wish)

    async def sign_out(self, request: Request) -> Response:
        """Takes the form of the page that asks."""
        wish = await run_in_threadpool(self._read, parse_parameters(request.url.query))
        cookie = self._context.browser.session(request)
        user = await run_in_threadpool(self._context.end_user, cookie)
        if user is None:
            return self._done(wish)
        if not self._context.browser.form_is_ours(request, await read_form(request)):
            return self._ask(request, user, wish, parse_parameters(request.url.query))
        return await self._sign_out(user, wish)

    def _read(self, parameters: Mapping[str, str]) -> _Wish:
        hint = parameters.get("id_token_hint")
        claims = self._context.minter.read_id_token_hint(hint, int(time.time())) if hint else None
        client_id = parameters.get("client_id") or (claims["aud"] if claims else "")
        if claims and claims["aud"] != client_id:
            raise BadRequestError("client_id is not the one that the ID token was issued to.")
        client = self._context.server.query_client(client_id)
        target = parameters.get("post_logout_redirect_uri")
        if target is not None and (client is None or target not in client.post_logout_redirect_uris):
            raise BadRequestError("This post_logout_redirect_uri is not registered for the client.")
        if target is not None and (state := parameters.get("state")):
            target = with_parameters(target, {"state": state})
        return _Wish(client, claims["sub"] if claims else None, target)

    def _ask(self, request: Request, user: EndUser, wish: _Wish, parameters: Mapping[str, str]) -> Response:
        kept = {name: parameters[name] for name in _KEPT if name in parameters}
        query = with_parameters("", kept).removeprefix("?")
        token = self._context.browser.csrf(request)
        response = self._context.pages.sign_out(
            email=user.account.email,
            action=local_target(f"{self._context.settings.path}/sign-out", query),
            csrf=token,
            form_target=origin_of(wish.target) if wish.target else None,
        )
        self._context.browser.set_csrf(response, token)
        return response

    async def _sign_out(self, user: EndUser, wish: _Wish) -> Response:
        await run_in_threadpool(self._context.termination.end_sign_in, user.sign_in.sid, "signed_out")
        response = self._done(wish)
        self._context.browser.clear_session(response)
        return response

    def _done(self, wish: _Wish) -> Response:
        """Goes on. The cookie stays: clearing it unasked would let a foreign page sign a user out."""
        text = "You can close this page."
        return redirect(wish.target) if wish.target else self._context.pages.message("Signed out", text)


_KEPT = ("client_id", "logout_hint", "post_logout_redirect_uri", "state")


def _proves(wish: _Wish, user: EndUser) -> bool:
    """True if the request has an ID token of the user who is signed in, which strangers do not have."""
    return wish.proven == user.account.sub
