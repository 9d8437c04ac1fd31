"""The public keys of clients that use private_key_jwt: from the settings, or fetched and cached.

Rule 1: requests cause at most one fetch per cooldown and client, and only from the address that the settings
name.
Rule 2: keys at hand are used while their address cannot be reached, but not for ever.
Rule 3: few requests wait for the keys of one client: each has a thread, and anybody can name that client.
Rule 4: a fetch as a whole is over in time, name and head included, however slowly its bytes come.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial

import httpx
from authlib.oauth2.rfc6749 import OAuth2Error
from joserfc.jwk import Key, KeySet

from bff.issuer.client_settings import read_public_keys
from bff.issuer.grants.clients import Client

MAX_DOCUMENT = 64 * 1024
_ASKED = {"Accept": "application/json", "Accept-Encoding": "identity"}  # a bound on what is unpacked is none
LONGEST = 10.0  # seconds for one fetch altogether
MOST_WAITING = 4  # requests that wait for one client's first keys; of the 40 threads that all requests share


class KeysNotYetError(OAuth2Error):  # type: ignore[misc] # authlib publishes no types
    """The client's keys are being fetched, and enough requests wait for them."""

    error = "temporarily_unavailable"
    description = "The keys of the client are being fetched; try again in a few seconds."

    def __init__(self) -> None:
        super().__init__(status_code=503)


@dataclass(slots=True)
class _Fetched:
    """A fetched key set. Times are seconds of a clock that does not jump."""

    keys: KeySet | None = None
    fetched: float = 0.0
    tried: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    room: threading.Semaphore = field(default_factory=partial(threading.Semaphore, MOST_WAITING))


class ClientKeys:
    """Finds the key that a client names.

    Args:
        cooldown: seconds between two fetches that unknown keys or failures ask for.
        fresh: seconds after which keys are fetched again.
        stale: seconds after which keys that cannot be fetched again are no longer used.
    """

    def __init__(self, cooldown: float = 10.0, fresh: float = 600.0, stale: float = 24 * 3600.0) -> None:
        self._cooldown, self._fresh, self._stale = cooldown, fresh, stale
        self._certificates: ssl.SSLContext | None = None  # read for the first fetch: most issuers never fetch
        self._guard = threading.Lock()
        self._fetched: dict[str, _Fetched] = {}
        self._given: dict[str, KeySet] = {}

    def find(self, client: Client, kid: str | None, now: float) -> Key | None:
        """Returns the key of that name (without a name: the only one), or None; blocks.

        Raises:
            KeysNotYetError: there are no keys yet, and enough requests wait for them.
        """
        if client.jwks is not None:
            if client.client_id not in self._given:
                self._given[client.client_id] = read_public_keys(client.jwks)
            return _pick(self._given[client.client_id], kid)
        if client.jwks_uri is None:
            return None
        with self._guard:
            entry = self._fetched.setdefault(client.client_id, _Fetched())
        known = entry.keys is not None and now - entry.fetched <= self._fresh
        if not (known and _pick(entry.keys, kid)):
            self._follow(entry, client.jwks_uri, now)
        return None if now - entry.fetched > self._stale else _pick(entry.keys, kid)

    def _follow(self, entry: _Fetched, uri: str, now: float) -> None:
        """Fetches keys, or waits for the request that does; with keys at hand no request waits."""
        first = entry.keys is None
        if first and not entry.room.acquire(blocking=False):
            raise KeysNotYetError
        try:
            if entry.lock.acquire(blocking=first):
                try:
                    self._fetch(entry, uri, now)
                finally:
                    entry.lock.release()
        finally:
            if first:
                entry.room.release()

    def _trust(self) -> ssl.SSLContext:
        with self._guard:
            if self._certificates is None:
                self._certificates = httpx.create_ssl_context(trust_env=False)
            return self._certificates

    def _fetch(self, entry: _Fetched, uri: str, now: float) -> None:
        if entry.tried is not None and now - entry.tried < self._cooldown:
            return
        entry.tried = now
        try:
            body = _in_time(_body_at(uri, self._trust()))
            entry.keys, entry.fetched = read_public_keys(json.loads(body)), now
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError):
            return  # the keys at hand serve on, until they are stale


async def _body_at(uri: str, certificates: ssl.SSLContext) -> bytes:
    """Returns a document; raises ValueError for one that is too large."""
    body = b""
    async with (
        httpx.AsyncClient(timeout=5.0, follow_redirects=False, trust_env=False, verify=certificates) as http,
        http.stream("GET", uri, headers=_ASKED) as answer,
    ):
        answer.raise_for_status()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > MAX_DOCUMENT:
                raise ValueError("too large")
    return body


def _in_time(fetch: Coroutine[None, None, bytes]) -> bytes:
    """Runs a fetch in this thread; raises TimeoutError after `LONGEST`.

    A blocking client bounds each read alone. A loop of its own leaves a name that is being looked up behind,
    where `asyncio.run` would wait for it.
    """
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(asyncio.wait_for(fetch, LONGEST))
    finally:
        loop.close()


def _pick(keys: KeySet | None, kid: str | None) -> Key | None:
    if keys is None:
        return None
    if kid is None:
        return keys.keys[0] if len(keys.keys) == 1 else None
    return next((key for key in keys.keys if key.kid == kid), None)
