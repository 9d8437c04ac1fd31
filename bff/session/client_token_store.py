"""The tokens that the proxy has in its own name, shared by all processes: `<prefix>:client:<name>`.

Rule 1: the name is a hash of what the token is for; no user's data is in it, or in the value.
Rule 2: a value is sealed for its name: whoever writes to Redis can put no token in another one's place.
Rule 3: a key ends with its token. The key that a token is bound to is sealed with it: all processes prove it.
"""

import json
from dataclasses import asdict

from bff.crypto import Keyring
from bff.session.model import OwnToken
from bff.session.rotation_lock import SessionLock
from bff.session.store import SessionStore

_BOUND = b"client token v1"


class ClientTokenStore:
    """Reads and keeps them; every method raises `StoreUnavailableError` when Redis fails."""

    def __init__(self, store: SessionStore, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def load(self, name: str) -> OwnToken | None:
        """The token of that name; None where there is none that this server has sealed."""
        sealed = await self._store.client_tokens.get(name)
        opened = None if sealed is None else self._keyring.open_record(_sealed_for(name), sealed, _BOUND)
        if opened is None:
            return None
        try:
            return OwnToken(**json.loads(opened))
        except TypeError:  # a later version keeps more of it: each version fetches its own
            return None

    async def keep(self, name: str, token: OwnToken, *, lifetime: float) -> None:
        """Keeps a token, for `lifetime` seconds."""
        told = {field: value for field, value in asdict(token).items() if value or field != "proof_key"}
        plaintext = json.dumps(told).encode()
        sealed = self._keyring.seal_record(_sealed_for(name), plaintext, _BOUND)
        await self._store.client_tokens.set(name, sealed, lifetime=lifetime)

    def lock(self, name: str) -> SessionLock:
        """The lock under which the token is fetched: one attempt at it."""
        return SessionLock(self._store.locks, f"client:{name}")


def _sealed_for(name: str) -> str:
    """The place of a handle, which no handle has the form of."""
    return f"client {name}"
