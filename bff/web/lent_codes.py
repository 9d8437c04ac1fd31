"""Authorization codes too long for a cookie, between callback and finish: sealed, in Redis, for a minute.

Azure B2C's codes have over 4 kB, and OAuth 2.0 sets no limit. Several cookies would carry them as well, but
not through servers in front: nginx takes an answer's head of 4 or 8 KiB by default (`proxy_buffer_size`), and
a request's cookies of 8 KiB in all. So what makes the callback's answer long is kept here.

Rule 1: there are `_SLOTS` places and no more, each for one code of at most 8 KiB: nobody can fill
Redis by calling the callback (B-30). Two sign-ins that meet in one place within the moment between callback
and finish are told apart by their state: the first is a stale one then, and is begun again.
Rule 2: a code is sealed, works once, and only together with the code verifier, which is in the cookie alone.
"""

import hashlib
import json

from bff.crypto import Keyring
from bff.session.sessions import Sessions

_SLOTS = 4096
_LIFETIME = 60.0
_KIND = "code"
_PURPOSE = b"lent code v1"


class LentCodes:
    """The codes of all sign-ins that are between callback and finish."""

    def __init__(self, keyring: Keyring, sessions: Sessions) -> None:
        self._keyring = keyring
        self._sessions = sessions

    async def lend(self, state: str, code: str) -> None:
        """Keeps a code for a minute; StoreUnavailableError."""
        sealed = self._keyring.seal_cookie(_PURPOSE, json.dumps([state, code]).encode())
        await self._sessions.keep_claim(_KIND, _slot(state), _LIFETIME, sealed)

    async def take_back(self, state: str) -> str | None:
        """The code, once; None if it is not there any more; StoreUnavailableError."""
        sealed = await self._sessions.keep_claim(_KIND, _slot(state), _LIFETIME, "")
        opened = self._keyring.open_cookie(_PURPOSE, sealed) if sealed else None
        if opened is None:
            return None
        kept, code = json.loads(opened)
        return str(code) if kept == state else None


def _slot(state: str) -> str:
    return str(int.from_bytes(hashlib.sha256(state.encode("utf-8", "replace")).digest()[:4]) % _SLOTS)
