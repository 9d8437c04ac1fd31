"""Parsing and checks of authorization requests, in a query or pushed (RFC 6749 4.1.1, RFC 9126).

Rule 1: a request whose client or redirect URI is not good is never answered by a redirect.
Rule 2: of a pushed or signed request only that part counts; the query beside it is not read (RFC 9126 4,
RFC 9101 6.3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error, TokenEndpoint
from authlib.oidc.core.errors import LoginRequiredError

from bff.issuer.endpoints.http import BadRequestError
from bff.issuer.endpoints.pushed import LIFETIME, URN
from bff.issuer.grants.clients import AUTH_METHODS, Client
from bff.issuer.grants.engine import ProtocolRequest, ProtocolServer

_CREDENTIALS = ("client_secret", "client_assertion", "client_assertion_type")


@dataclass(frozen=True, slots=True)
class Asked:
    """An authorization request whose client and redirect URI are known to be good.

    `request_uri` names it if it was pushed; `signed` says that the client signed it; `spent` says that a
    pushed one was answered before.
    """

    client: Client
    parameters: dict[str, str]
    request_uri: str | None = None
    spent: bool = False
    signed: bool = False

    @property
    def redirect_uri(self) -> str:
        """The destination of the answer."""
        return self.parameters["redirect_uri"]


def read_request(server: ProtocolServer, parameters: dict[str, str]) -> Asked:
    """Reads a request; raises BadRequestError if a page has to show the error; blocks if it was pushed."""
    client = server.query_client(parameters.get("client_id", ""))
    if client is None:
        raise BadRequestError("This client is not known here.")
    request_uri = parameters.get("request_uri", "")
    if request_uri.startswith(URN):
        pushed, spent = server.store.pushed.find(request_uri, client.client_id), False
        if pushed is None:
            pushed, spent = server.store.pushed.find_spent(request_uri), True
        if pushed is None or pushed["client_id"] != client.client_id:
            raise BadRequestError(
                "This request is over. Please go back to where you came from, and try again."
            )
        return Asked(client, pushed, request_uri, spent, signed=True)  # or it was not demanded at the push
    if signed := "request" in parameters:
        try:
            parameters = server.request_objects.read(parameters["request"], client)
        except OAuth2Error as error:
            text, status = error.get_error_description(), error.status_code
            raise BadRequestError(text, error=error.error, status=status) from None
    if not client.check_redirect_uri(parameters.get("redirect_uri", "")):
        raise BadRequestError("This redirect URI is not registered for the client.")
    return Asked(client, parameters, signed=signed)


def refuse_unsupported(asked: Asked) -> None:
    """Refuses values that discovery does not offer, before authlib quotes them in a message."""
    parameters = asked.parameters
    if asked.spent:
        raise InvalidRequestError("This request was answered already.")
    for name in ("request_uri", "registration"):
        if name in parameters:
            raise OAuth2Error(error=f"{name}_not_supported")
    if asked.client.require_par and asked.request_uri is None:
        raise InvalidRequestError("This client has to push its requests.")
    if asked.client.require_request_object and not asked.signed:
        raise InvalidRequestError("This client has to sign its requests.")
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


class PushedAuthorization(TokenEndpoint):  # type: ignore[misc] # authlib publishes no types
    """The endpoint where a client pushes a request (RFC 9126 2); authlib has none."""

    ENDPOINT_NAME = "par"
    CLIENT_AUTH_METHODS = AUTH_METHODS
    server: ProtocolServer

    def create_endpoint_response(self, request: ProtocolRequest) -> tuple[int, Mapping[str, Any], Any]:
        """Checks the request as the authorization endpoint does, stores it, and returns its name."""
        client = self.authenticate_endpoint_client(request)
        parameters = {name: value for name, value in request.form.items() if name not in _CREDENTIALS}
        if signed := "request" in parameters:
            parameters = self.server.request_objects.read(parameters["request"], client)
        if parameters.setdefault("client_id", client.client_id) != client.client_id:
            raise InvalidRequestError("The client_id is not the one of the client that authenticates.")
        self._bind_to_key(request, client, parameters)
        if "request_uri" in parameters:
            raise InvalidRequestError("A pushed request cannot name another one.")
        if not client.check_redirect_uri(parameters.get("redirect_uri", "")):
            raise InvalidRequestError("This redirect URI is not registered for the client.")
        asked = Asked(client, parameters, URN, signed=signed)
        refuse_unsupported(asked)
        try:
            self.server.get_consent_grant(ProtocolRequest("GET", request.uri, parameters, {}), None)
        except LoginRequiredError:
            pass  # with prompt=none authlib looks for somebody already; the browser that comes may bring them
        except OAuth2Error as error:
            error.redirect_uri, error.state = None, None  # the answer goes to the client, not to the browser
            raise
        request_uri = self.server.store.pushed.save(parameters)
        return 201, {"request_uri": request_uri, "expires_in": LIFETIME}, ()

    def _bind_to_key(self, request: ProtocolRequest, client: Client, parameters: dict[str, str]) -> None:
        """Binds the code to the key that the push proves (RFC 9449 10.1)."""
        jkt = self.server.proofs.key_of(request, client)
        if jkt and parameters.setdefault("dpop_jkt", jkt) != jkt:
            raise InvalidRequestError("dpop_jkt names another key than the one that is proved.")
