"""The issuer's public keys: fetched, kept, and fetched again when a token names one that is not known.

Rule 1: an unknown `kid` costs at most one fetch per cooldown, however many tokens name one (RFC 8725 3.10).
Rule 2: keys at hand are used while the issuer cannot be reached, but not for ever.
Rule 3: a token whose key is at hand never waits for the issuer: old keys are fetched again beside it.
"""

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from .fetch import FetchError
from .jwk import key_label, public_part

MIN_RSA_BITS = 2048
MAX_KEYS = 100
_log = logging.getLogger("bff.verify")
FetchJson = Callable[[str], Awaitable[Mapping[str, Any]]]


class KeysUnavailableError(Exception):
    """No keys may be used: none was ever fetched, or the last ones are too old."""


class IssuerKeys:
    """The key set of one issuer.

    Args:
        issuer: its identifier; `jwks_uri` is looked up in its metadata, whose `issuer` must equal it.
        fetch: gets a JSON object, or raises FetchError.
        jwks_uri: the address of the keys, if the metadata need not be asked.
        cooldown: seconds between two fetches that only unknown keys or failures cause.
        fresh: seconds after which the keys are fetched again.
        stale: seconds after which keys are no longer used when they cannot be fetched again.
    """

    def __init__(
        self,
        issuer: str,
        fetch: FetchJson,
        *,
        jwks_uri: str | None = None,
        cooldown: float = 10.0,
        fresh: float = 600.0,
        stale: float = 24 * 3600.0,
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._jwks_uri = jwks_uri
        self._cooldown, self._fresh, self._stale = cooldown, fresh, stale
        self._keys: dict[str, Key] = {}
        self._fetched: float | None = None
        self._tried: float | None = None
        self._running: asyncio.Task[None] | None = None
        self._dropped: tuple[str, ...] = ()

    async def find(self, kid: str | None, now: float) -> Key | None:
        """Returns the key of that name (without a name: the only key there is), or None.

        `now` is in seconds of a clock that does not jump. Raises KeysUnavailableError.
        """
        if self._pick(kid) is None or not self._serve(now):
            if (running := self._refetch(now)) is not None:
                await asyncio.shield(running)  # a caller that gives up does not end it for the others
        elif not self._is_fresh(now):
            self._refetch(now)
        if not self._serve(now):
            raise KeysUnavailableError
        return self._pick(kid)

    def vouch(self, kid: str | None, key: Key, now: float) -> bool:
        """Return True if a key that was found before would be found again without waiting."""
        if self._pick(kid) is not key or not self._serve(now):
            return False
        if not self._is_fresh(now):
            self._refetch(now)
        return True

    async def settled(self) -> None:
        """Waits for the fetch that is under way, if there is one."""
        if self._running is not None:
            await asyncio.wait([self._running])

    async def close(self) -> None:
        """Ends a fetch that is under way."""
        running = self._running
        while running is not None and not running.done():
            running.cancel()  # again, if a library took one for something else
            await asyncio.wait([running], timeout=1.0)

    def _serve(self, now: float) -> bool:
        return self._fetched is not None and now - self._fetched <= self._stale

    def _rests(self, now: float) -> bool:
        return self._tried is not None and now - self._tried < self._cooldown

    def _pick(self, kid: str | None) -> Key | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _is_fresh(self, now: float) -> bool:
        return self._fetched is not None and now - self._fetched <= self._fresh

    def _refetch(self, now: float) -> "asyncio.Task[None] | None":
        """The fetch that is under way, or a new one; within the cooldown none."""
        if self._running is None and not self._rests(now):
            self._tried = now
            self._running = asyncio.create_task(self._run(now))  # noqa: TID251 - held here, awaited or closed; without bff.tasks this stands alone
        return self._running

    async def _run(self, now: float) -> None:
        try:
            uri = self._jwks_uri or await self._discover()
            keys, dropped = read_keys(await self._fetch(uri))
            self._keys = self._known(keys)
            if dropped != self._dropped:
                self._dropped = dropped
                _log.warning("keys_dropped: %s", "; ".join(dropped))
            self._fetched = now
        except FetchError as error:  # the keys at hand serve on, until they are stale
            _log.warning("keys_not_fetched: %s", error)
        finally:
            self._running = None

    def _known(self, keys: dict[str, Key]) -> dict[str, Key]:
        """The new keys; one that stays the same stays the same object, for those who remember it."""
        former = {kid: (key, key.as_dict(private=False)) for kid, key in self._keys.items()}
        return {
            kid: former[kid][0] if kid in former and former[kid][1] == key.as_dict(private=False) else key
            for kid, key in keys.items()
        }

    async def _discover(self) -> str:
        document = await self._fetch(f"{self._issuer}/.well-known/openid-configuration")
        uri = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(uri, str):
            raise FetchError("the metadata are not those of the issuer")
        return uri


def read_keys(document: Mapping[str, Any]) -> tuple[dict[str, Key], tuple[str, ...]]:
    """The usable keys of a key set, and the reason against each other one.

    Usable are public keys for signatures, RSA of at least 2048 bits.
    """
    keys: dict[str, Key] = {}
    dropped: list[str] = []
    entries = document.get("keys")
    for number, entry in enumerate(entries[:MAX_KEYS] if isinstance(entries, list) else [], 1):
        key = _read_key(entry)
        if isinstance(key, str):
            dropped.append(f"{key_label(entry, number)} {key}")
        else:
            keys[key.kid or ""] = key
    return keys, tuple(dropped)


def _read_key(entry: Any) -> Key | str:
    part = public_part(entry)
    if isinstance(part, str):
        return part
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # a short key, which is left out below
            key = import_key(part)
    except (JoseError, ValueError, TypeError, KeyError):
        return "cannot be read"  # a kind of key that is not known here does not spoil the others
    if isinstance(key, RSAKey) and key.raw_value.key_size < MIN_RSA_BITS:
        return f"has fewer than {MIN_RSA_BITS} bits"
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else "is of a kind that is not used here"
