"""authlib's server engine, tied to our clients, store and tokens.

All of it is synchronous and calls Redis: the app runs it in a thread.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from bff.issuer.accounts.accounts import Account, Accounts
from bff.issuer.active_tokens import ActiveTokens
from bff.issuer.grants.clients import Client
from bff.issuer.grants.proofs import ProofChecks
from bff.issuer.grants.refusal_log import client_named, log_refusal, why_not_authenticated
from bff.issuer.grants.request_objects import RequestObjects
from bff.issuer.grants.tokens import Minter, client_subject
from bff.issuer.logout.termination import Termination
from bff.issuer.settings import IssuerSettings
from bff.issuer.store.sign_in_sessions import SignIn
from bff.issuer.store.store import Store


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: a redirect when `location` is set, else a JSON body."""

    status: int
    body: Mapping[str, Any]
    headers: Sequence[tuple[str, str]]
    location: str | None = None


@dataclass(frozen=True, slots=True)
class EndUser:
    """The user who is signed in, in the browser of the request."""

    account: Account
    sign_in: SignIn


class ProtocolRequest(OAuth2Request):  # type: ignore[misc] # authlib publishes no types
    """A request in authlib's form. Parameters come apart and never twice (RFC 6749 3.1 and 3.2).

    `proofs` are the values of its `DPoP` header fields; `next_nonce` goes with the answer.
    """

    def __init__(
        self,
        method: str,
        uri: str,
        parameters: dict[str, str],
        headers: Mapping[str, str],
        proofs: Sequence[str] = (),
    ) -> None:
        super().__init__(method, uri, headers=headers)
        self.proofs = proofs
        self.next_nonce: str | None = None
        self.payload = BasicOAuth2Payload(parameters)
        self._parameters = parameters

    @property
    def args(self) -> dict[str, str]:
        """The parameters."""
        return self._parameters

    @property
    def form(self) -> dict[str, str]:
        """The parameters: the app passes those of the right place."""
        return self._parameters


class ProtocolServer(AuthorizationServer):  # type: ignore[misc] # authlib publishes no types
    """authlib's engine, tied to our clients, store and tokens."""

    def __init__(
        self,
        settings: IssuerSettings,
        store: Store,
        accounts: Accounts,
        minter: Minter,
        *,
        termination: Termination,
        request_objects: RequestObjects,
    ) -> None:
        super().__init__(scopes_supported=None)  # unknown scopes are left out, not refused (RFC 6749 3.3)
        logging.getLogger("authlib").setLevel(logging.INFO)  # its DEBUG lines hold tokens
        self.settings = settings
        self.store = store
        self.accounts = accounts
        self.minter = minter
        self.termination = termination
        self.request_objects = request_objects
        self.proofs = ProofChecks(store.used_proofs)
        self.clients = {client.client_id: Client(client) for client in settings.clients}
        subjects = {client_subject(name) for name, client in self.clients.items() if client.acts_for_itself}
        self.active = ActiveTokens(minter, store, accounts, subjects)

    def query_client(self, client_id: str) -> Client | None:
        """Returns a registered client, or None."""
        return self.clients.get(client_id)

    def allowed_audiences(self, client: Client) -> tuple[str, ...]:
        """The services that a client may have tokens for; the first is the default."""
        return (self.settings.audience, *client.audiences)

    def save_token(self, token: Any, request: Any) -> None:
        """Does nothing: families are stored before tokens are issued, access tokens not at all."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Does nothing: no part listens to signals."""

    def create_oauth2_request(self, request: ProtocolRequest) -> ProtocolRequest:
        """Returns the request as it is: the app has already made one."""
        return request

    def handle_error_response(self, request: ProtocolRequest, error: OAuth2Error) -> Answer:
        """Answers with an error, and logs the reason."""
        form, authorization = request.form, request.headers.get("Authorization", "")
        name = client_named(form, authorization)
        reason = error.get_error_description() or error.error
        if error.error == "invalid_client":
            client = None if name is None else self.query_client(name)
            reason = why_not_authenticated(client, name, form, authorization, self.clients) or reason
        log_refusal(error.error, reason, name, grant_type=form.get("grant_type"))
        answer: Answer = super().handle_error_response(request, error)
        return answer

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Answer:
        """Hands the app a plain value."""
        location = next((value for name, value in headers if name == "Location"), None)
        return Answer(status, body if isinstance(body, dict) else {}, headers, location)
