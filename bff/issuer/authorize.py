"""The authorization endpoint and the sign-in page (RFC 6749 4.1, OpenID Connect Core 3.1.2, RFC 9207).

Rule 1: nothing is sent to a redirect URI that the client has not registered to the letter.
Rule 2: every answer that goes to a client, an error too, carries `iss`.
Rule 3: the sign-in page keeps nothing on the server: its form brings the request along.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from authlib.oidc.core.errors import LoginRequiredError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from bff.issuer.browser import asks_again, local_target
from bff.issuer.clients import Client
from bff.issuer.http import (
    BadRequestError,
    origin_of,
    parse_parameters,
    read_form,
    redirect,
    with_parameters,
)
from bff.issuer.pages import STALE_FORM, WRONG_CREDENTIALS
from bff.issuer.parts import Parts
from bff.issuer.protocol import EndUser, ProtocolRequest
from bff.issuer.sign_ins import SignIn
from bff.observe.logs import get_logger

_log = get_logger("bff.issuer")


@dataclass(frozen=True, slots=True)
class _Asked:
    """An authorization request whose client and redirect URI are known to be good."""

    client: Client
    parameters: dict[str, str]

    @property
    def redirect_uri(self) -> str:
        return self.parameters["redirect_uri"]


class AuthorizationEndpoint:
    """`/authorize` and `/sign-in`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._uri = f"{parts.settings.url}/authorize"

    async def authorize(self, request: Request) -> Response:
        """Answers with a code, an error, or the sign-in page. A POST is turned into a GET."""
        if request.method == "POST":
            return redirect(with_parameters(self._uri, await read_form(request)))
        asked = self._read(request.url.query)
        cookie = self._parts.browser.session(request)
        location = await run_in_threadpool(self._decide, asked, cookie, time.time())
        if location is not None:
            return redirect(location)
        return self._page(request, asked, email=asked.parameters.get("login_hint", ""))

    async def sign_in(self, request: Request) -> Response:
        """Takes the sign-in form: a new sign-in and a code, or the page again."""
        asked = self._read(request.url.query)
        form = await read_form(request)
        email = form.get("email", "")
        if not self._parts.browser.form_is_ours(request, form):
            return self._page(request, asked, email=email, problem=STALE_FORM)
        former = self._parts.browser.session(request)
        done = await run_in_threadpool(self._sign_in, asked, email, form.get("password", ""), former)
        if done is None:
            return self._page(request, asked, email=email, problem=WRONG_CREDENTIALS)
        cookie, location = done
        response = redirect(location)
        self._parts.browser.set_session(response, cookie)
        return response

    def _read(self, query: str) -> _Asked:
        """Reads a request; what is wrong with client or redirect URI is told on a page, never redirected."""
        parameters = parse_parameters(query)
        client = self._parts.server.query_client(parameters.get("client_id", ""))
        if client is None:
            raise BadRequestError("This client is not known here.")
        if not client.check_redirect_uri(parameters.get("redirect_uri", "")):
            raise BadRequestError("This redirect URI is not registered for the client.")
        return _Asked(client, parameters)

    def _decide(self, asked: _Asked, cookie: str | None, now: float) -> str | None:
        """Returns where to redirect to, or None for the sign-in page; blocks."""
        try:
            _refuse_unsupported(asked.parameters)
            user = self._parts.end_user(cookie)
            auth_time = user.sign_in.auth_time if user else None
            prompt = asked.parameters.get("prompt", "")
            if asks_again(prompt, asked.parameters.get("max_age"), auth_time, now):
                user = None
            if user is not None and not self._is_meant(asked, user):
                user = None
            location = self._grant(asked, user)
            if location is None and "none" in prompt.split():
                raise LoginRequiredError
        except OAuth2Error as error:
            return self._error_location(asked, error)
        return location

    def _grant(self, asked: _Asked, user: EndUser | None) -> str | None:
        """Lets authlib check the request and, for somebody who is signed in, make the code."""
        protocol_request = ProtocolRequest("GET", self._uri, asked.parameters, {})
        grant = self._parts.server.get_consent_grant(protocol_request, user)
        if user is None:
            return None
        answer = self._parts.server.create_authorization_response(protocol_request, user, grant)
        return with_parameters(answer.location, {"iss": self._parts.settings.url})

    def _sign_in(
        self, asked: _Asked, email: str, password: str, former: str | None
    ) -> tuple[str, str] | None:
        """Checks the credentials; returns the new cookie and where to go; blocks."""
        account = self._parts.accounts.check(email, password)
        if account is None:
            _log.info("sign_in_refused", client_id=asked.client.client_id)
            return None
        now = time.time()
        sign_in = SignIn(account.sub, secrets.token_urlsafe(16), int(now))
        cookie = secrets.token_urlsafe(32)
        if former is not None:
            self._parts.store.sign_ins.forget(former)
        self._parts.store.sign_ins.save(cookie, sign_in, self._parts.settings.session_lifetime, now)
        try:
            _refuse_unsupported(asked.parameters)
            # Whoever has just signed in is not asked again, whatever `prompt` says.
            rest = {name: value for name, value in asked.parameters.items() if name != "prompt"}
            location = self._grant(_Asked(asked.client, rest), EndUser(account, sign_in))
        except OAuth2Error as error:
            location = self._error_location(asked, error)
        return cookie, location or asked.redirect_uri

    def _is_meant(self, asked: _Asked, user: EndUser) -> bool:
        """Tells whether the one who is signed in is the one that `id_token_hint` names, if it names one."""
        hint = asked.parameters.get("id_token_hint")
        claims = self._parts.minter.read_id_token_hint(hint) if hint else None
        return claims is None or claims.get("sub") == user.account.sub

    def _error_location(self, asked: _Asked, error: Any) -> str:
        """An error for the client (RFC 6749 4.1.2.1), with `state` and `iss`."""
        parameters: dict[str, str] = {"error": error.error}
        if description := error.get_error_description():
            parameters["error_description"] = description
        if state := asked.parameters.get("state"):
            parameters["state"] = state
        return with_parameters(asked.redirect_uri, {**parameters, "iss": self._parts.settings.url})

    def _page(self, request: Request, asked: _Asked, *, email: str, problem: str = "") -> Response:
        token = self._parts.browser.csrf(request)
        response = self._parts.pages.sign_in(
            client=asked.client.name,
            action=local_target(f"{self._parts.settings.path}/sign-in", request.url.query),
            csrf=token,
            email=email[:254],
            form_target=origin_of(asked.redirect_uri),
            problem=problem,
        )
        self._parts.browser.set_csrf(response, token)
        return response


def _refuse_unsupported(parameters: Mapping[str, str]) -> None:
    """Refuses what discovery does not offer, before authlib quotes it in a message."""
    for name in ("request", "request_uri", "registration"):
        if name in parameters:
            raise OAuth2Error(error=f"{name}_not_supported")
    if parameters.get("response_type") != "code":
        raise OAuth2Error(error="unsupported_response_type")
    if parameters.get("response_mode", "query") != "query":
        raise InvalidRequestError("Only response_mode query is supported.")
    prompts = parameters.get("prompt", "").split()
    if "none" in prompts and len(prompts) > 1:
        raise InvalidRequestError("prompt none stands alone.")
    max_age = parameters.get("max_age")
    if max_age is not None and not (max_age.isascii() and max_age.isdigit() and len(max_age) < 10):  # noqa: PLR2004 - some 30 years
        raise InvalidRequestError("max_age is a number of seconds.")
