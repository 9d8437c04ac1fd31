"""Pushed authorization requests (RFC 9126): a sign-in's parameters go straight to the provider.

Rule 1: a push that fails never falls back to the address bar: a request that must not be seen or changed
there would be.
Rule 2: under FAPI 2.0 a request that the provider keeps for long is not used: it could be taken up by others.
"""

from collections.abc import Callable

from bff.errors import ProviderUnavailableError
from bff.observe.logs import get_logger
from bff.oidc.authenticated_calls import AuthenticatedCalls
from bff.oidc.metadata import Metadata
from bff.oidc.request_object import signed_request
from bff.oidc.requests import Client, Fields, pushed_authorization_form, secrets_of
from bff.oidc.token_errors import ClientRefusedError, parse_error_code, refuses_client, told
from bff.oidc.token_response import parse_pushed, pushed_too_long
from bff.settings.model import ProviderSettings

_OK = range(200, 300)
_ITS_OWN_FAULT = 500  # and above: a server that is ill, which has refused nothing
_log = get_logger("bff.oidc")


class PushedRequests:
    """Pushes the requests of one provider. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        settings: ProviderSettings,
        calls: AuthenticatedCalls,
        clock: Callable[[], float],
    ) -> None:
        self._par = settings.par
        self._profile = settings.profile
        self._calls = calls
        self._clock = clock

    def are_for(self, metadata: Metadata) -> bool:
        """Returns True if requests to this provider are pushed, by the setting and by its offer or demand."""
        if self._par == "auto":
            offered = metadata.pushed_authorization_endpoint is not None
            return offered or metadata.pushed_authorization_required
        return self._par == "always"

    async def push(self, metadata: Metadata, fields: Fields) -> str:
        """Sends a request; returns the `request_uri` by which the browser takes it up.

        Raises:
            ProviderUnavailableError: it was refused, or not answered, or there is no place to send it.
        """
        endpoint = metadata.pushed_authorization_endpoint
        if endpoint is None:
            raise ProviderUnavailableError("the provider has no endpoint for pushed authorization requests")
        said = await self._calls.post(
            endpoint,
            metadata,
            lambda client: pushed_authorization_form(client, self._signed(client, metadata, fields)),
        )
        answer, document = said.answer, said.document
        request_uri = parse_pushed(document) if answer.status in _OK else None
        if request_uri is None:
            if answer.status < _ITS_OWN_FAULT or parse_error_code(document):
                _log.error(
                    "pushed_request_refused",
                    **told(answer.status, document, client=said.client, sent=secrets_of(said.form)),
                )
            refused = refuses_client(document)
            raise (ClientRefusedError if refused else ProviderUnavailableError)(
                f"the provider's endpoint for pushed authorization requests answered {answer.status}",
                answer.retry_after(self._clock()),
            )
        if self._profile == "fapi2" and (fault := pushed_too_long(document)):
            _log.error("pushed_request_unusable", problem=fault)
            raise ProviderUnavailableError(fault)
        return request_uri

    def _signed(self, client: Client, metadata: Metadata, fields: Fields) -> Fields:
        return signed_request(client, fields, issuer=metadata.issuer, now=int(self._clock()))
