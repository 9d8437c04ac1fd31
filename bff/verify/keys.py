"""The issuer's public keys: fetched, kept, and fetched again when a token names one that is not known.

Rule 1: an unknown `kid` costs at most one fetch per cooldown, however many tokens name one (RFC 8725 3.10).
Rule 2: keys at hand are used while the issuer cannot be reached, but not for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from bff.verify.fetch import FetchError

MIN_RSA_BITS = 2048
FetchJson = Callable[[str], Awaitable[Mapping[str, Any]]]


class KeysUnavailableError(Exception):
    """There are no keys that may be used: none was ever fetched, or the last ones are too old."""


class IssuerKeys:
    """The key set of one issuer.

    Args:
        issuer: its identifier; `jwks_uri` is looked up in its metadata, whose `issuer` must equal it.
        fetch: gets a JSON object, or raises FetchError.
        jwks_uri: where the keys are, if the metadata need not be asked.
        cooldown: seconds between two fetches that nothing but unknown keys or failures ask for.
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
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None, now: float) -> Key | None:
        """Returns the key of that name (without a name: the only key there is), or None.

        `now` is in seconds of a clock that does not jump. Raises KeysUnavailableError.
        """
        if not self._is_fresh(now) or self._pick(kid) is None:
            await self._refetch(kid, now)
        if self._fetched is None or now - self._fetched > self._stale:
            raise KeysUnavailableError
        return self._pick(kid)

    def _pick(self, kid: str | None) -> Key | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _is_fresh(self, now: float) -> bool:
        return self._fetched is not None and now - self._fetched <= self._fresh

    async def _refetch(self, kid: str | None, now: float) -> None:
        """Fetches once for all who wait; within the cooldown not at all."""
        async with self._lock:
            if self._is_fresh(now) and self._pick(kid) is not None:
                return  # somebody fetched while this one waited for the lock
            if self._tried is not None and now - self._tried < self._cooldown:
                return
            self._tried = now
            try:
                uri = self._jwks_uri or await self._discover()
                self._keys = read_keys(await self._fetch(uri))
            except FetchError:
                return  # what is at hand serves on, until it is stale
            self._fetched = now

    async def _discover(self) -> str:
        document = await self._fetch(f"{self._issuer}/.well-known/openid-configuration")
        uri = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(uri, str):
            raise FetchError("the metadata are not those of the issuer")
        return uri


def read_keys(document: Mapping[str, Any]) -> dict[str, Key]:
    """Takes the usable keys out of a key set: public ones for signatures, RSA of at least 2048 bits."""
    keys: dict[str, Key] = {}
    entries = document.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or _is_weak(entry):
            continue
        try:
            key = import_key({name: value for name, value in entry.items() if name in _PUBLIC})
        except (JoseError, ValueError, TypeError):
            continue  # a kind of key that is not known here does not spoil the others
        if isinstance(key, (RSAKey, ECKey, OKPKey)):
            keys[str(entry.get("kid", ""))] = key
    return keys


def _is_weak(entry: Mapping[str, Any]) -> bool:
    """Tells whether an RSA key is too short, by its modulus in base64url: six bits to a character."""
    modulus = entry.get("n")
    return isinstance(modulus, str) and len(modulus.rstrip("=").lstrip("A")) * 6 < MIN_RSA_BITS


_PUBLIC = ("kty", "crv", "x", "y", "n", "e", "kid", "use", "alg")
