"""The token endpoint of a provider: what is sent to it, and the meaning of its answers.

Rule 1: only `invalid_grant` means that a grant is gone (T-07). Everything else that is no success, a refused
client included, is `ProviderUnavailableError`, by its kind (`refusals.py`).
Rule 2: where a request is proved by a key, only a token that is bound to it is taken: a plain bearer token in
its place would be a downgrade (RFC 9449 5).
Rule 3: the tokens of an answer that is not taken are given back, to be revoked. Those of a refresh are not:
to revoke one may end the grant (RFC 7009 2.1), which the former refresh token may still serve.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Literal

from bff.errors import ProviderUnavailableError
from bff.observe.dependency_metrics import ProviderCall, Watched
from bff.observe.logs import get_logger
from bff.oidc import requests
from bff.oidc.authenticated_calls import Answered, AuthenticatedCalls
from bff.oidc.concurrency_limit import PrioritySemaphore, Ticket
from bff.oidc.dpop import ProofKey
from bff.oidc.http import PLAIN, Answer, AnswerLostError, Sending
from bff.oidc.metadata import Metadata
from bff.oidc.token_errors import GrantRefusedError, InvalidGrant, SignInRequired, refusal, says_error, told
from bff.oidc.token_response import TokenAnswer, TokenAnswerError, names_other_certificate, parse_token_answer
from bff.settings.model import ProviderSettings

_ASKED_TO_WAIT = (429, 503)
Form = Callable[[requests.Client], requests.Form]
TokenCall = Literal["token", "refresh", "exchange", "client"]
_NOT_BOUND = (
    "the access token does not name our certificate (cnf, x5t#S256), though provider.token_binding is "
    '"mtls": who has it can use it, or we cannot; let the provider bind this client\'s tokens, and what is '
    "before it tell the certificate"
)
_log = get_logger("bff.oidc")


class TokenEndpoint:
    """The token endpoint; the arguments are those of `OidcClient`.

    `give_back` is called with an answer whose tokens are to be revoked.

    Attributes:
        tickets: those of the calls that may be under way at once.
        granted: good answers, to any request.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        calls: AuthenticatedCalls,
        metadata: Callable[[], Awaitable[Metadata]],
        *,
        clock: Callable[[], float],
        failed: Callable[[ProviderCall], None],
        watched: Watched[ProviderCall],
        give_back: Callable[[Any], None],
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._metadata = metadata
        self._clock = clock
        self._failed = failed
        self._watched = watched
        self._give_back = give_back
        self.tickets = PrioritySemaphore(settings.max_token_calls)
        self.granted = 0
        self._told_unbound = False

    async def awaited(
        self, call: TokenCall, form: Form, proof_key: str | None = None
    ) -> TokenAnswer | InvalidGrant:
        """Makes a call that somebody waits for; raises as `send` does, and `GrantRefusedError`."""
        async with AsyncExitStack() as slot:
            try:
                async with asyncio.timeout(self._settings.timeout):
                    await slot.enter_async_context(self.tickets.taken(Ticket(urgent=True)))
            except TimeoutError:
                raise ProviderUnavailableError("too many token calls are under way") from None
            answer = await self.send(call, form, PLAIN, proof_key)
        if isinstance(answer, SignInRequired):
            raise GrantRefusedError("the provider's token endpoint wants to see the user")
        return answer

    async def send(
        self, call: TokenCall, form: Form, sending: Sending, proof_key: str | None = None
    ) -> TokenAnswer | InvalidGrant | SignInRequired:
        """Makes a call, with a proof by the key, if there is one; the caller has taken a ticket.

        Raises:
            ProviderUnavailableError: no answer that settles it; `AnswerLostError` if the grant may be spent.
        """
        try:
            return await self._spend(call, form, sending, proof_key)
        except ProviderUnavailableError:
            self._failed(call)
            raise

    async def _spend(
        self, call: TokenCall, form: Form, sending: Sending, proof_key: str | None
    ) -> TokenAnswer | InvalidGrant | SignInRequired:
        metadata = await self._metadata()
        sent_at, key = self._clock(), None if proof_key is None else ProofKey(proof_key)
        shown = self._calls.thumbprints()
        with self._watched(call):
            said = await self._calls.post(metadata.token_endpoint, metadata, form, sending, key=key)
        answer, document = said.answer, said.document
        if not says_error(answer.status, document):
            try:
                tokens = parse_token_answer(
                    document,
                    sent_at,
                    refresh_lifetime=self._settings.refresh_token_lifetime,
                    refreshed=call == "refresh",
                    jkt=None if key is None else key.jkt,
                )
            except TokenAnswerError as error:
                _log.error("token_answer_unusable", problem=str(error))
                if call != "refresh":
                    self._give_back(document)
                raise AnswerLostError(str(error)) from None
            self.granted += 1
            self._tell_unbound(tokens, shown | self._calls.thumbprints())
            return replace(tokens, proof_key=proof_key)
        refused = refusal(answer.status, document, self._wait(answer))
        # The end of a grant is no error of anybody's; of a session it has an event of its own.
        log = _log.info if isinstance(refused, InvalidGrant) else _log.error
        log("token_endpoint_refused", **texts_of(said))
        if isinstance(refused, ProviderUnavailableError):
            raise refused
        return refused

    def _tell_unbound(self, tokens: TokenAnswer, shown: Collection[str]) -> None:
        """Warns once of a token that is bound to no certificate of ours, in spite of the setting."""
        wanted = self._settings.token_binding == "mtls"  # noqa: S105 - a way, and no password
        if wanted and not self._told_unbound and names_other_certificate(tokens.access_token, shown):
            self._told_unbound = True
            _log.warning("token_not_bound", problem=_NOT_BOUND)

    def _wait(self, answer: Answer) -> float | None:
        return answer.retry_after(self._clock()) if answer.status in _ASKED_TO_WAIT else None


def texts_of(said: Answered) -> dict[str, object]:
    """Returns the text of a refusal for the log, without what was sent."""
    sent = requests.secrets_of(said.form)
    return told(said.answer.status, said.document, client=said.client, sent=sent)
