"""A transmitter of Shared Signals: its keys, fetched and kept, and the tokens that they vouch for.

Its keys are those of `provider.signals_jwks_uri`, else of what its own configuration names (SSF 1.0, 6.2).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from bff.errors import ProviderUnavailableError
from bff.oidc.document_cache import DocumentCache
from bff.oidc.event_reader import EventReader
from bff.oidc.http import ProviderHttp
from bff.oidc.metadata import KeySet, MetadataRejectedError, SigningKey, parse_jwks
from bff.oidc.security_event import Expected, Signal, validate_security_event
from bff.settings.model import ProviderSettings
from bff.settings.url_check import endpoint_complaint
from bff.tasks import Tasks

_OK = 200


def configuration_url(issuer: str) -> str:
    """Returns the address of a transmitter's configuration: the well-known part goes before its path."""
    parts = urlsplit(issuer)
    path = f"/.well-known/ssf-configuration{parts.path.rstrip('/')}"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


class Transmitter:
    """The transmitter that `provider.signals_issuer` names. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        settings: ProviderSettings,
        issuer: str,
        wire: ProviderHttp,
        *,
        clock: Callable[[], float],
        tasks: Tasks,
    ) -> None:
        self._wire = wire
        self._issuer = issuer
        self._jwks_uri = settings.signals_jwks_uri
        expected = Expected(
            issuer=issuer,
            audiences=settings.signals_audience or (settings.client_id,),
            provider=settings.issuer,
            algs=settings.id_token_algs,
            clock_skew=settings.clock_skew,
        )
        self._keys: DocumentCache[KeySet] = DocumentCache(
            "transmitter's key set",
            self._fetch,
            lifetime=settings.metadata_lifetime,
            clock=clock,
            tasks=tasks,
        )
        self._reader = EventReader(
            self, lambda token, keys, now: validate_security_event(token, keys, expected, now), clock
        )

    async def read(self, token: str) -> Signal:
        """Checks a token; raises as `EventReader.read` does."""
        return await self._reader.read(token)

    async def keys(self) -> Sequence[SigningKey]:
        """The keys at hand; `ProviderUnavailableError` if there never were any."""
        return (await self._keys.get()).keys

    async def newer_keys(self) -> Sequence[SigningKey]:
        """The keys as they are at the transmitter now, unless they have just been fetched."""
        return (await self._keys.renew()).keys

    def keys_asked_since(self, moment: float) -> bool:
        """Returns True if the keys at hand were asked for at `moment` or later."""
        return self._keys.asked_since(moment)

    async def _fetch(self) -> KeySet:
        try:
            return parse_jwks(await self._document(self._jwks_uri or await self._named()))
        except MetadataRejectedError as error:
            raise ProviderUnavailableError(str(error)) from None

    async def _named(self) -> str:
        """The address of the keys by the transmitter's configuration, whose issuer has to be ours."""
        document = await self._document(configuration_url(self._issuer))
        if not isinstance(document, Mapping) or document.get("issuer") != self._issuer:
            raise MetadataRejectedError("the transmitter's configuration names another issuer")
        uri = document.get("jwks_uri")
        if not isinstance(uri, str) or endpoint_complaint(uri) is not None:
            raise MetadataRejectedError("the transmitter's configuration names no https jwks_uri")
        return uri

    async def _document(self, url: str) -> Any:
        answer = await self._wire.get(url)
        if answer.status != _OK:
            raise ProviderUnavailableError(f"the transmitter of shared signals answered {answer.status}")
        return answer.json()
