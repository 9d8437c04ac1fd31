"""The authorization endpoint and the sign-in page (RFC 6749 4.1, OpenID Connect Core 3.1.2, RFC 9207).

Rule 1: nothing is sent to a redirect URI that the client has not registered to the letter.
Rule 2: every answer that goes to a client, an error too, carries `iss`.
Rule 3: the sign-in page keeps nothing on the server: its form brings the request along.
"""

import time
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from authlib.oidc.core.errors import LoginRequiredError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from bff.issuer.accounts.sign_in import Credentials, NotSignedIn
from bff.issuer.context import IssuerContext
from bff.issuer.endpoints.authorization_request import Asked, read_request, refuse_unsupported
from bff.issuer.endpoints.browser import asks_again, local_target
from bff.issuer.endpoints.http import (
    check_is_navigation,
    origin_of,
    parse_parameters,
    read_form,
    redirect,
    with_parameters,
)
from bff.issuer.endpoints.pages import STALE_FORM
from bff.issuer.grants.engine import EndUser, ProtocolRequest
from bff.issuer.grants.refusal_log import log_refusal


class AuthorizationEndpoint:
    """`/authorize` and `/sign-in`."""

    def __init__(self, context: IssuerContext) -> None:
        self._context = context
        self._uri = f"{context.settings.url}/authorize"

    async def authorize(self, request: Request) -> Response:
        """Answers with a code, an error, or the sign-in page. A POST is turned into a GET."""
        check_is_navigation(request)
        if request.method == "POST":
            return redirect(with_parameters(self._uri, await read_form(request)))
        asked = await self._read(request.url.query)
        if asked.signed and asked.request_uri is None:
            return redirect(await run_in_threadpool(self._keep, asked))
        cookie = self._context.browser.session(request)
        location = await run_in_threadpool(self._decide, asked, cookie, time.time())
        if location is not None:
            return redirect(location)
        return self._page(request, asked, email=asked.parameters.get("login_hint", ""))

    async def sign_in(self, request: Request) -> Response:
        """Takes the sign-in form: a new sign-in and a code, or the page again."""
        asked = await self._read(request.url.query)
        form = await read_form(request)
        email, browser, service = form.get("email", ""), self._context.browser, self._context.sign_in_service
        if not browser.form_is_ours(request, form):
            return self._page(request, asked, email=email, problem=NotSignedIn(STALE_FORM, 422))
        outcome = await service.sign_in(
            Credentials(
                email=email,
                password=form.get("password", ""),
                client_id=asked.client.client_id,
                device=service.device_of(request),
                known_as=browser.device(request),
                former=browser.session(request),
            )
        )
        if isinstance(outcome, NotSignedIn):
            return self._page(request, asked, email=email, problem=outcome)
        user = EndUser(outcome.account, outcome.sign_in)
        response = redirect(await run_in_threadpool(self._go_on, asked, user))
        browser.set_session(response, outcome.session)
        browser.set_device(response, outcome.known_as)
        return response

    async def _read(self, query: str) -> Asked:
        return await run_in_threadpool(read_request, self._context.server, parse_parameters(query))

    def _keep(self, asked: Asked) -> str:
        """Keeps a signed request, which ends soon, as a pushed one, and returns its address; blocks."""
        try:
            refuse_unsupported(asked)
        except OAuth2Error as error:
            return self._error_location(asked, error)
        request_uri = self._context.store.pushed.save(asked.parameters)
        named = {"client_id": asked.client.client_id, "request_uri": request_uri}
        return with_parameters(self._uri, named)

    def _decide(self, asked: Asked, cookie: str | None, now: float) -> str | None:
        """Returns the URL to redirect to, or None for the sign-in page; blocks."""
        try:
            refuse_unsupported(asked)
            user = self._context.end_user(cookie)
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

    def _grant(self, asked: Asked, user: EndUser | None) -> str | None:
        """Lets authlib check the request and, for a signed-in user, make the code."""
        protocol_request = ProtocolRequest("GET", self._uri, asked.parameters, {})
        grant = self._context.server.get_consent_grant(protocol_request, user)
        if user is None:
            return None
        if asked.request_uri is not None and not self._context.store.pushed.take(asked.request_uri):
            raise InvalidRequestError("This request was answered already.")
        answer = self._context.server.create_authorization_response(protocol_request, user, grant)
        return with_parameters(answer.location, {"iss": self._context.settings.url})

    def _go_on(self, asked: Asked, user: EndUser) -> str:
        """Returns the URL for a user who has just signed in; blocks."""
        try:
            refuse_unsupported(asked)
            if not self._is_meant(asked, user):  # OpenID Connect Core 3.1.2.1
                raise LoginRequiredError
            # A user who has just signed in is not asked again, for any `prompt`.
            rest = {name: value for name, value in asked.parameters.items() if name != "prompt"}
            location = self._grant(Asked(asked.client, rest, asked.request_uri), user)
        except OAuth2Error as error:
            location = self._error_location(asked, error)
        return location or asked.redirect_uri

    def _is_meant(self, asked: Asked, user: EndUser) -> bool:
        """Return True if the signed-in user is the one that `id_token_hint` names, or it names none."""
        hint = asked.parameters.get("id_token_hint")
        claims = self._context.minter.read_id_token_hint(hint, int(time.time())) if hint else None
        return claims is None or claims.get("sub") == user.account.sub

    def _error_location(self, asked: Asked, error: Any) -> str:
        """An error for the client (RFC 6749 4.1.2.1), with `state` and `iss`."""
        log_refusal(error.error, error.get_error_description() or error.error, asked.client.client_id)
        parameters: dict[str, str] = {"error": error.error}
        if description := error.get_error_description():
            parameters["error_description"] = description
        if state := asked.parameters.get("state"):
            parameters["state"] = state
        return with_parameters(asked.redirect_uri, {**parameters, "iss": self._context.settings.url})

    def _page(
        self, request: Request, asked: Asked, *, email: str, problem: NotSignedIn | None = None
    ) -> Response:
        token = self._context.browser.csrf(request)
        response = self._context.pages.sign_in(
            client=asked.client.name,
            action=local_target(f"{self._context.settings.path}/sign-in", request.url.query),
            csrf=token,
            email=email[:254],
            form_target=origin_of(asked.redirect_uri),
            problem=problem.problem if problem else "",
            status=problem.status if problem else 200,
        )
        if problem is not None and problem.retry_after is not None:
            response.headers["Retry-After"] = str(problem.retry_after)
        self._context.browser.set_csrf(response, token)
        return response
