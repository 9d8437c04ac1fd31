"""The revocation of tokens at the provider (RFC 7009), as well as can be: it is never waited for long."""

import asyncio
from collections.abc import Awaitable, Callable

from bff.errors import ProviderUnavailableError
from bff.observe.dependency_metrics import ProviderCall, Watched
from bff.observe.logs import audit, get_logger
from bff.oidc import requests
from bff.oidc.authenticated_calls import AuthenticatedCalls
from bff.oidc.metadata import Metadata
from bff.oidc.token_endpoint import texts_of
from bff.oidc.token_errors import says_error
from bff.oidc.token_response import TokenHint

TIMEOUT = 3.0
"""Seconds that a user who signs out waits for each thing that the provider has to do about it."""

_log = get_logger("bff.oidc")


class Revocation:
    """The revocation endpoint of a provider; the arguments are those of `OidcClient`."""

    def __init__(
        self,
        calls: AuthenticatedCalls,
        metadata: Callable[[], Awaitable[Metadata]],
        watched: Watched[ProviderCall],
    ) -> None:
        self._calls = calls
        self._metadata = metadata
        self._watched = watched
        self._told_unrevocable = False

    async def revoke(self, token: str, hint: TokenHint) -> bool | None:
        """Revokes a token.

        Returns:
            True if the provider says that it is done; None if it has no endpoint for it (logged once).
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                metadata = await self._metadata()
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
            _log.warning("revocation_failed", **texts_of(said))
        return not failed

    async def give_back(
        self,
        refused: tuple[str, TokenHint],
        *,
        reason: str,
        frontend: str | None = None,
        provider: str | None = None,
    ) -> None:
        """Revokes the token of a grant that nobody will use, and tells the audit log."""
        if (revoked := await self.revoke(*refused)) is not None:
            audit(
                "tokens_revoked" if revoked else "revocation_failed",
                reason=reason,
                frontend=frontend,
                provider=provider,
            )

    def _tell_unrevocable(self) -> bool:
        _log.warning(
            "no_revocation_endpoint",
            problem="the provider names none: after a sign-out its refresh token lives until its own end",
        )
        return True
