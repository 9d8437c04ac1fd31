"""The proxy as a client of its OpenID Provider: its requests, and the meaning of the answers.

Rule 1: only `invalid_grant` means that a grant is gone (T-07). Everything else that is no success, a refused
client included, is `ProviderUnavailableError`, by its kind (`refusals.py`): nobody is signed out for it here.
Rule 2: no message and no log line holds a token, a code, a URL with a query, or a body.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Literal

from bff.errors import ProviderUnavailableError
from bff.observe.dependency_metrics import ProviderCall, Watched, unwatched
from bff.observe.logs import get_logger
from bff.oidc import requests
from bff.oidc.assertion import Authentication
from bff.oidc.authenticated import Answered, AuthenticatedCalls
from bff.oidc.concurrency_limit import LATE_CALLS, PrioritySemaphore, Ticket
from bff.oidc.documents import Documents
from bff.oidc.http import PLAIN, Answer, AnswerLostError, ProviderHttp, Sending
from bff.oidc.http_clients import Certificates
from bff.oidc.id_token import Claims, Expected, IdTokenRejectedError, validate_id_token
from bff.oidc.metadata import Metadata, SigningKey
from bff.oidc.pushed import PushedRequests
from bff.oidc.refusals import (
    GrantRefusedError,
    InvalidGrant,
    SignInRequired,
    refusal,
    says_error,
    told,
)
from bff.oidc.tokens import TokenAnswer, TokenAnswerError, parse_token_answer
from bff.oidc.transmitter import Transmitter
from bff.oidc.userinfo import Told, Userinfo
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks

SIGN_OUT_TIMEOUT = 3.0
"""Seconds that a user who signs out waits for each thing that the provider has to do about it."""

_OK = range(200, 300)
_ASKED_TO_WAIT = (429, 503)
Form = Callable[[requests.Client], requests.Form]
_log = get_logger("bff.oidc")


class OidcClient:
    """One provider. The settings hold our credentials; `failed` is called for every call that failed.

    `watched` makes the context of each call; `clock` gives seconds since the epoch. `needed` names the claims
    of rules and headers.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        clock: Callable[[], float],
        tasks: Tasks,
        failed: Callable[[ProviderCall], None] = lambda _: None,
        watched: Watched[ProviderCall] = unwatched,
        http: Callable[[ProviderSettings, int], ProviderHttp] = ProviderHttp.of,
        needed: Collection[str] = (),
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._failed = failed
        self._watched = watched
        self._authentication = Authentication(settings, clock)
        at_once = settings.max_token_calls * (1 + LATE_CALLS)
        self._wire = http(settings, at_once)
        self._told_unrevocable = False
        self.granted = 0  # good answers of the token endpoint, to any request
        self.tickets = PrioritySemaphore(settings.max_token_calls)
        self._calls = AuthenticatedCalls(self._wire, self._authentication)
        self._pushed = PushedRequests(settings, self._calls, clock)
        self._userinfo = Userinfo(settings, self._wire, self.metadata, watched, needed)
        self.documents = Documents(
            settings, self._wire, clock=clock, tasks=tasks, failed=failed, watched=watched
        )
        self.transmitter: Transmitter | None = None
        if (issuer := settings.signals_issuer) is not None:
            self.transmitter = Transmitter(settings, issuer, self._wire, clock=clock, tasks=tasks)

    def authenticate_by(self, settings: ProviderSettings) -> None:
        """Takes a newer secret or key; the former one serves until the provider has accepted it."""
        self._authentication.replace(settings)

    def ask_for_newer(self, ask: Callable[[], bool]) -> None:
        """Sets the function to call where the provider refuses us; it returns True for another secret."""
        self._calls.ask = ask

    def trust(self, settings: ProviderSettings) -> None:
        """Reads the provider's CA certificates and the client's own anew; OSError changes nothing."""
        self._wire.renew(Certificates.of(settings))

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._wire.aclose()

    async def metadata(self) -> Metadata:
        """The discovery document (O-06).

        Raises:
            ProviderUnavailableError: it has never been had.
        """
        return await self.documents.metadata()

    async def keys(self) -> Sequence[SigningKey]:
        """The provider's signing keys. Raises as `metadata` does."""
        return await self.documents.keys()

    async def newer_keys(self) -> Sequence[SigningKey]:
        """The keys as they are at the provider now, unless they have just been fetched (O-09)."""
        return await self.documents.newer_keys()

    def request_params(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Returns the authorization request's parameters beside ours: those asked for, then the settings'."""
        required = self.settings.acr_required
        own = {"acr_values": " ".join(required)} if required else {}
        params = {**own, **asked, **self.settings.extra_params}
        return {name: value for name, value in params.items() if name not in requests.RESERVED}

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, code_verifier: str, params: Mapping[str, str]
    ) -> str:
        """Returns where to send the browser; the request is pushed where the provider takes that (RFC 9126).

        Raises:
            ProviderUnavailableError: the discovery document has never been had, or the push failed.
        """
        metadata = await self.metadata()
        fields = requests.authorization_params(
            client_id=self.settings.client_id,
            redirect_uri=redirect_uri,
            scopes=self.settings.scopes,
            state=state,
            nonce=nonce,
            code_verifier=code_verifier,
            params=params,
            resource=self.settings.resource,
        )
        if not self._pushed.are_for(metadata):
            return requests.authorization_url(metadata.authorization_endpoint, fields)
        try:
            with self._watched("par"):
                request_uri = await self._pushed.push(metadata, fields)
        except ProviderUnavailableError:
            self._failed("par")
            raise
        return requests.pushed_authorization_url(
            metadata.authorization_endpoint, client_id=self.settings.client_id, request_uri=request_uri
        )

    async def exchange_code(
        self, code: str, *, redirect_uri: str, code_verifier: str
    ) -> TokenAnswer | InvalidGrant:
        """Spends an authorization code, once.

        Raises:
            ProviderUnavailableError: no answer that settles it; `AnswerLostError` if it may be spent.
        """
        return await self._token_call(
            "token",
            lambda client: requests.code_form(
                client,
                code=code,
                redirect_uri=redirect_uri,
                code_verifier=code_verifier,
                resource=self.settings.resource,
            ),
        )

    async def refresh(
        self, refresh_token: str, *, scope: str | None = None, sending: Sending = PLAIN
    ) -> TokenAnswer | InvalidGrant | SignInRequired:
        """Spends a refresh token, once. The caller has taken one of the `slots`.

        Raises as `exchange_code` does, and `CallWithdrawnError` if `sending.may_send` said no.
        """
        return await self._counted(
            "refresh",
            lambda client: requests.refresh_form(
                client, refresh_token=refresh_token, scope=scope, resource=self.settings.resource
            ),
            sending,
        )

    async def exchange_token(self, access_token: str, audience: str) -> TokenAnswer | InvalidGrant:
        """Gets a token for one backend in exchange for the session's (RFC 8693); nothing is spent.

        Raises as `exchange_code` does; `GrantRefusedError` where this one token or audience is refused.
        """
        return await self._token_call(
            "exchange",
            lambda client: requests.exchange_form(client, access_token=access_token, audience=audience),
        )

    async def client_token(self, grant: requests.ClientGrant) -> TokenAnswer | InvalidGrant:
        """Gets a token in our own name (RFC 6749 4.4). Raises as `exchange_token` does."""
        return await self._token_call("client", lambda client: requests.client_form(client, grant))

    async def revoke(self, token: str, hint: Literal["refresh_token", "access_token"]) -> bool | None:
        """Revokes a token as well as can be (RFC 7009).

        Returns:
            Whether the provider says that it is done; None if it has no endpoint for it (logged once).
        """
        try:
            async with asyncio.timeout(SIGN_OUT_TIMEOUT):
                metadata = await self.metadata()
                if metadata.revocation_endpoint is None:
                    self._told_unrevocable = self._told_unrevocable or self._tell_unrevocable()
                    return None
                with self._watched("revocation"):
                    said = await self._calls.post(
                        metadata.revocation_endpoint,
                        metadata,
                        lambda client: requests.revocation_form(client, token=token, hint=hint),
                    )
        except (ProviderUnavailableError, TimeoutError) as error:
            _log.warning("revocation_failed", problem=str(error) or "the provider did not answer in time")
            return False
        failed = says_error(said.answer.status, said.document)
        if failed:
            fields = _told(said)
            _log.warning("revocation_failed", **fields)
        return not failed

    def _tell_unrevocable(self) -> bool:
        _log.warning(
            "no_revocation_endpoint",
            problem="the provider names none: after a sign-out its refresh token lives until its own end",
        )
        return True

    async def end_session_url(
        self, *, id_token: str | None, logout_hint: str | None, post_logout_redirect_uri: str
    ) -> str | None:
        """Returns where the browser signs out at the provider; None if there is no such place, or none known.

        With the setting `end_session_hint` the ID token names the session, else `logout_hint` does.
        """
        try:
            async with asyncio.timeout(SIGN_OUT_TIMEOUT):
                endpoint = (await self.metadata()).end_session_endpoint
        except (ProviderUnavailableError, TimeoutError):
            return None
        if endpoint is None:
            return None
        hint = id_token if self.settings.end_session_hint else None
        return requests.end_session_url(
            endpoint,
            client_id=self.settings.client_id,
            post_logout_redirect_uri=post_logout_redirect_uri,
            id_token_hint=hint,
            logout_hint=logout_hint if hint is None else None,
        )

    async def validate_id_token(
        self,
        id_token: str,
        *,
        nonce: str,
        access_token: str,
        requested_at: float,
        max_age: int | None = None,
    ) -> Claims:
        """Checks the ID token of a sign-in (O-08, O-17).

        Raises:
            IdTokenRejectedError: it is not to be believed.
            ProviderUnavailableError: the keys have never been had.
        """
        expected = self._expected(
            nonce=nonce,
            access_token=access_token,
            requested_at=requested_at,
            max_age=max_age,
            acr_required=self.settings.acr_required,
        )
        return await self._validate(id_token, expected)

    async def validate_refreshed_id_token(self, id_token: str, *, sub: str, access_token: str) -> Claims:
        """Checks the ID token of a refresh. Raises likewise; reason `iss` or `sub`: another person (T-13)."""
        return await self._validate(id_token, self._expected(sub=sub, access_token=access_token))

    async def wanted_claims(self, claims: Claims, access_token: str) -> Told:
        """The claims of a sign-in, with those that only the userinfo endpoint has; never fails."""
        return await self._userinfo.completed(claims, access_token)

    async def refreshed_claims(self, claims: Claims | None, *, sub: str, access_token: str) -> Claims | None:
        """The claims of a refresh likewise: those of its ID token, if any; None: there is nothing new."""
        return await self._userinfo.refreshed(claims, sub, access_token)

    def _expected(
        self,
        *,
        access_token: str,
        nonce: str | None = None,
        sub: str | None = None,
        requested_at: float = 0.0,
        max_age: int | None = None,
        acr_required: Sequence[str] = (),
    ) -> Expected:
        return Expected(
            issuer=self.settings.issuer,
            client_id=self.settings.client_id,
            algs=self.settings.id_token_algs,
            clock_skew=self.settings.clock_skew,
            nonce=nonce,
            sub=sub,
            max_age=max_age,
            requested_at=requested_at,
            acr_required=acr_required,
            access_token=access_token,
        )

    async def _validate(self, id_token: str, expected: Expected) -> Claims:
        keys = await self.documents.keys()
        try:
            return validate_id_token(id_token, keys, expected, self._clock())
        except IdTokenRejectedError as rejected:
            # Keys rotate (O-09); a provider that names no `kid` shows it by a signature that fails.
            if rejected.reason not in ("unknown_key", "bad_signature"):
                raise
        return validate_id_token(id_token, await self.documents.newer_keys(), expected, self._clock())

    async def _token_call(
        self, call: Literal["token", "exchange", "client"], form: Form
    ) -> TokenAnswer | InvalidGrant:
        """A token call that somebody waits for."""
        async with AsyncExitStack() as slot:
            try:
                async with asyncio.timeout(self.settings.timeout):
                    await slot.enter_async_context(self.tickets.taken(Ticket(urgent=True)))
            except TimeoutError:
                raise ProviderUnavailableError("too many token calls are under way") from None
            answer = await self._counted(call, form, PLAIN)
        if isinstance(answer, SignInRequired):
            raise GrantRefusedError("the provider's token endpoint wants to see the user")
        return answer

    async def _counted(
        self, call: Literal["token", "refresh", "exchange", "client"], form: Form, sending: Sending
    ) -> TokenAnswer | InvalidGrant | SignInRequired:
        try:
            return await self._spend(call, form, sending)
        except ProviderUnavailableError:
            self._failed(call)
            raise

    async def _spend(
        self, call: Literal["token", "refresh", "exchange", "client"], form: Form, sending: Sending
    ) -> TokenAnswer | InvalidGrant | SignInRequired:
        metadata = await self.metadata()
        sent_at = self._clock()
        with self._watched(call):
            said = await self._calls.post(metadata.token_endpoint, metadata, form, sending)
        answer, document = said.answer, said.document
        if not says_error(answer.status, document):
            lifetime, refreshed = self.settings.refresh_token_lifetime, call == "refresh"
            try:
                tokens = parse_token_answer(document, sent_at, refresh_lifetime=lifetime, refreshed=refreshed)
            except TokenAnswerError as error:
                _log.error("token_answer_unusable", problem=str(error))
                raise AnswerLostError(str(error)) from None
            self.granted += 1
            return tokens
        refused = refusal(answer.status, document, self._wait(answer))
        # The end of a grant is no error of anybody's; of a session it has an event of its own.
        log = _log.info if isinstance(refused, InvalidGrant) else _log.error
        log("token_endpoint_refused", **_told(said))
        if isinstance(refused, ProviderUnavailableError):
            raise refused
        return refused

    def _wait(self, answer: Answer) -> float | None:
        return answer.retry_after(self._clock()) if answer.status in _ASKED_TO_WAIT else None


def _told(said: Answered) -> dict[str, object]:
    sent = requests.secrets_of(said.form)
    return told(said.answer.status, said.document, client=said.client, sent=sent)
