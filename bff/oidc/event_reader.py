"""A reader of signed events: checked by the keys at hand, then by newer ones.

Rule 1: a token whose key is not known is no lasting refusal while the keys may be older than the token: the
sender is asked to come again (503), since a 400 would be the last word on a token that may be good.
"""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from bff.errors import ProviderUnavailableError
from bff.oidc.document_cache import PAUSE
from bff.oidc.metadata import SigningKey
from bff.oidc.signed_event import SignedEventRejectedError

Event = TypeVar("Event")


class KeySource(Protocol):
    """The keys of a signer, fetched and kept. Raises `ProviderUnavailableError` if there never were any."""

    async def keys(self) -> Sequence[SigningKey]:
        """The keys at hand."""

    async def newer_keys(self) -> Sequence[SigningKey]:
        """The keys as they are at the signer now, unless they have just been fetched."""

    def keys_asked_since(self, moment: float) -> bool:
        """Returns True if the keys at hand were asked for at `moment` or later."""


class EventReader(Generic[Event]):
    """A reader of one signer's events. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        keys: KeySource,
        validate: Callable[[str, Sequence[SigningKey], float], Event],
        clock: Callable[[], float],
    ) -> None:
        """`validate` checks a token by keys, at a time; it raises `SignedEventRejectedError`."""
        self._keys = keys
        self._validate = validate
        self._clock = clock

    async def read(self, token: str) -> Event:
        """Checks a token; a key that is not known is looked for at the signer, once.

        Raises:
            SignedEventRejectedError: it is not to be believed.
            ProviderUnavailableError: the keys have never been had, or the token's key is not among them, and
                they could not be fetched again just now.
        """
        arrived = self._clock()
        try:
            return self._validate(token, await self._keys.keys(), self._clock())
        except SignedEventRejectedError as rejected:
            if not rejected.key_may_be_new:
                raise
        try:
            return self._validate(token, await self._keys.newer_keys(), self._clock())
        except SignedEventRejectedError as again:
            if again.key_may_be_new and not self._keys.keys_asked_since(arrived):
                # The cooldown, or an outage.
                raise ProviderUnavailableError("the key set is older than the token", PAUSE) from None
            raise
