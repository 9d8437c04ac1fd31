"""Questions about tokens that others bring (RFC 7662), in the name and by the proof of our own client.

Rule 1: an answer that does not say whether the token is active is no answer: ProviderUnavailableError.
Rule 2: as many questions are under way at once as token calls, and take no place of theirs. They go over
connections that are kept; where such a one breaks, the question is put once more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from bff.errors import ProviderUnavailableError
from bff.observe.dependency_metrics import ProviderCall, Watched
from bff.observe.logs import get_logger
from bff.oidc import requests
from bff.oidc.authenticated_calls import Answered, AuthenticatedCalls
from bff.oidc.http import AnswerLateError, AnswerLostError, Sending
from bff.oidc.metadata import Metadata
from bff.oidc.token_endpoint import texts_of
from bff.settings.model import ProviderSettings

TIMEOUT: Final = 3.0
"""Seconds for a question as a whole, the wait for its turn included."""

_OK = 200
_QUESTION = Sending(question=True)
_log = get_logger("bff.oidc")


class Introspection:
    """The introspection endpoint of a provider; the arguments are those of `OidcClient`."""

    def __init__(
        self,
        settings: ProviderSettings,
        calls: AuthenticatedCalls,
        metadata: Callable[[], Awaitable[Metadata]],
        watched: Watched[ProviderCall],
    ) -> None:
        self._turns = asyncio.Semaphore(settings.max_token_calls)
        self._calls = calls
        self._metadata = metadata
        self._watched = watched

    async def is_active(self, token: str) -> bool:
        """Asks about an access token; raises ProviderUnavailableError where there is no answer to it."""
        try:
            async with asyncio.timeout(TIMEOUT), self._turns:
                return await self._asked(token)
        except TimeoutError:
            raise ProviderUnavailableError("the introspection endpoint did not answer in time") from None

    async def _asked(self, token: str) -> bool:
        metadata = await self._metadata()
        endpoint = metadata.introspection_endpoint
        if endpoint is None:
            raise ProviderUnavailableError("the provider has no introspection endpoint")
        with self._watched("introspection"):
            try:
                said = await self._put(endpoint, metadata, token)
            except AnswerLateError:
                raise
            except AnswerLostError:
                said = await self._put(endpoint, metadata, token)
        document: Any = said.document
        active = document.get("active") if isinstance(document, Mapping) else None
        if said.answer.status != _OK or not isinstance(active, bool):
            _log.warning("introspection_failed", **texts_of(said))
            raise ProviderUnavailableError("the introspection endpoint does not say if the token is active")
        return active

    async def _put(self, endpoint: str, metadata: Metadata, token: str) -> Answered:
        return await self._calls.post(
            endpoint, metadata, lambda client: requests.introspection_form(client, token), _QUESTION
        )
