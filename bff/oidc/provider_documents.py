"""The provider's two documents: its discovery document and its key set, fetched, kept and renewed.

Rule 1: members that cannot be used are said once in the log, with the reason, and again when they change.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from bff.errors import ProviderUnavailableError
from bff.observe.dependency_metrics import Watched
from bff.observe.logs import get_logger
from bff.oidc.document_cache import DocumentCache
from bff.oidc.http import ProviderHttp
from bff.oidc.metadata import (
    ENDPOINTS,
    KeySet,
    Metadata,
    MetadataRejectedError,
    SigningKey,
    discovery_url,
    parse_jwks,
    parse_metadata,
)
from bff.oidc.token_errors import RefusedError
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks

Document = Literal["discovery", "jwks"]
_OK = range(200, 300)
_ASKED_TO_WAIT = (429, 503)
_NAMES = {"discovery": "discovery document", "jwks": "key set"}
T = TypeVar("T")
_log = get_logger("bff.oidc")


def document_url(settings: ProviderSettings) -> str:
    """Returns the URL of the discovery document: by the setting, else by the issuer's name."""
    return settings.discovery_url or discovery_url(settings.issuer)


def endpoint_overrides(settings: ProviderSettings) -> dict[str, str]:
    """The endpoints that the settings name; they win over those of the discovery document."""
    named = ((name, getattr(settings, name)) for name in ENDPOINTS)
    return {name: value for name, value in named if value is not None}


def _object(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise MetadataRejectedError("the document is not a JSON object")
    return document


class Documents:
    """Both documents of one provider. `failed` is called for each failed fetch; `watched` is around each."""

    def __init__(
        self,
        settings: ProviderSettings,
        wire: ProviderHttp,
        *,
        clock: Callable[[], float],
        tasks: Tasks,
        failed: Callable[[Document], None],
        watched: Watched[Document],
    ) -> None:
        self._settings = settings
        self._wire = wire
        self._clock = clock
        self._failed = failed
        self._watched = watched
        self._ignored: tuple[str, ...] = ()
        self._dropped: tuple[str, ...] = ()
        lifetime = settings.metadata_lifetime
        self._metadata: DocumentCache[Metadata] = DocumentCache(
            _NAMES["discovery"], self._fetch_metadata, lifetime=lifetime, clock=clock, tasks=tasks
        )
        self._keys: DocumentCache[KeySet] = DocumentCache(
            _NAMES["jwks"], self._fetch_keys, lifetime=lifetime, clock=clock, tasks=tasks
        )

    async def metadata(self) -> Metadata:
        """The discovery document; `ProviderUnavailableError` if it has never been had."""
        return await self._metadata.get()

    async def keys(self) -> Sequence[SigningKey]:
        """The signing keys; raises likewise."""
        return (await self._keys.get()).keys

    def keys_at_hand(self) -> Sequence[SigningKey] | None:
        """The signing keys if they are known, without waiting; else a fetch of them begins."""
        keys = self._keys.at_hand()
        return None if keys is None else keys.keys

    @property
    def missing_because(self) -> str | None:
        """Returns why no documents could be fetched; None if they were, or the first fetch is under way."""
        return self._keys.failure

    async def newer_keys(self) -> Sequence[SigningKey]:
        """The signing keys as they are at the provider now, unless they have just been fetched."""
        return (await self._keys.renew()).keys

    def keys_asked_since(self, moment: float) -> bool:
        """True if the keys at hand were asked for at `moment` or later, in seconds since the epoch."""
        return self._keys.asked_since(moment)

    async def public(self, url: str | None) -> Mapping[str, Any]:
        """Reads a JSON object that anybody may read; None: the provider's key set, unread.

        Raises:
            ProviderUnavailableError: it cannot be had.
        """
        return await self._fetch("jwks", url or (await self.metadata()).jwks_uri, _object)

    async def _fetch_metadata(self) -> Metadata:
        settings = self._settings
        overrides = endpoint_overrides(settings)
        metadata = await self._fetch(
            "discovery",
            document_url(settings),
            lambda document: parse_metadata(document, settings.issuer, overrides, mtls=settings.over_mtls()),
        )
        if metadata.ignored != self._ignored:
            self._ignored = metadata.ignored
            _log.warning(
                "endpoints_ignored",
                endpoints=list(metadata.ignored),
                problem="each is no https URL (http is accepted on loopback only), and counts as absent",
            )
        return metadata

    async def _fetch_keys(self) -> KeySet:
        keys = await self._fetch("jwks", (await self.metadata()).jwks_uri, parse_jwks)
        if keys.dropped != self._dropped:
            self._dropped = keys.dropped
            _log.warning("keys_dropped", keys=list(keys.dropped))
        return keys

    async def _fetch(self, call: Document, url: str, parse: Callable[[Any], T]) -> T:
        try:
            with self._watched(call):
                answer = await self._wire.get(url)
            if answer.status not in _OK:
                asked = answer.retry_after(self._clock()) if answer.status in _ASKED_TO_WAIT else None
                raise RefusedError(f"the provider's {_NAMES[call]} answered {answer.status}", asked)
            return parse(answer.json())
        except MetadataRejectedError as error:
            self._failed(call)
            raise ProviderUnavailableError(str(error)) from None
        except ProviderUnavailableError:
            self._failed(call)
            raise
