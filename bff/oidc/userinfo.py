"""The userinfo endpoint (OpenID Connect Core 5.3): claims that an ID token does not carry.

Rule 1: the answer counts only if its `sub` is the ID token's (5.3.2); what the ID token says is not
changed by it, and what serves the protocol is not taken from it.
Rule 2: a failure is logged, and fails no sign-in.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bff.errors import ProviderUnavailableError
from bff.observe.dependency_metrics import ProviderCall, Watched
from bff.observe.logs import get_logger
from bff.oidc.http import ProviderHttp
from bff.oidc.id_token import MAX_ID_TOKEN, Claims
from bff.oidc.metadata import Metadata
from bff.policy.public_claims import PROTOCOL_CLAIMS
from bff.settings.model import ProviderSettings

TIMEOUT = 5.0
"""Seconds that a sign-in waits for it."""

WANTED = ("name", "email")
"""Claims that a page is likely to want, where the settings name none."""

_NOT_TAKEN = PROTOCOL_CLAIMS | {"acr", "amr", "auth_time"}
_OK = 200
_log = get_logger("bff.oidc")


class Userinfo:
    """The endpoint of one provider."""

    def __init__(
        self,
        settings: ProviderSettings,
        wire: ProviderHttp,
        metadata: Callable[[], Awaitable[Metadata]],
        watched: Watched[ProviderCall],
    ) -> None:
        self._settings = settings
        self._wire = wire
        self._metadata = metadata
        self._watched = watched

    async def completed(self, claims: Claims, access_token: str) -> Claims:
        """The claims of an ID token, and those beside them that the endpoint tells."""
        if not is_wanted(claims, self._settings):
            return claims
        try:
            async with asyncio.timeout(TIMEOUT):
                endpoint = (await self._metadata()).userinfo_endpoint
                if endpoint is None:
                    return claims
                with self._watched("userinfo"):
                    answer = await self._wire.get(endpoint, bearer=access_token)
        except (ProviderUnavailableError, TimeoutError) as error:
            _log.warning("userinfo_failed", problem=str(error) or "the provider did not answer in time")
            return claims
        if answer.status != _OK or len(answer.body) > MAX_ID_TOKEN:
            _log.warning("userinfo_failed", status=answer.status, bytes=len(answer.body))
            return claims
        told = merged(claims, answer.json())
        if told is None:
            _log.warning("userinfo_refused", problem="it is no JSON object, or tells of another sub")
        return told or claims


def is_wanted(claims: Claims, settings: ProviderSettings) -> bool:
    """Returns True if the endpoint is to be asked, by the setting and by what the ID token lacks."""
    if settings.userinfo == "auto":
        wanted = WANTED if settings.claims is None else settings.claims
        return any(claims.get(name) is None for name in wanted if name not in _NOT_TAKEN)
    return settings.userinfo == "always"


def merged(claims: Claims, document: Any) -> Claims | None:
    """Both together, the ID token first; None if the document is of somebody else."""
    if not isinstance(document, Mapping) or document.get("sub") != claims["sub"]:
        return None
    told = {name: value for name, value in document.items() if name not in _NOT_TAKEN and value is not None}
    return {
        **told,
        **{name: value for name, value in claims.items() if value is not None or name not in told},
    }
