"""Authorization codes too long for a cookie: kept in Redis, sealed, for a minute between callback and finish.

Azure B2C's codes have over 4 kB, and OAuth 2.0 sets no limit. Several cookies would carry them as well, but
not through servers in front: nginx takes a response head of 4 or 8 KiB by default (`proxy_buffer_size`), and
a request's cookies of 8 KiB in all.

Rule 1: there are `_SLOTS` places, each for one code of at most 8 KiB: calls of the callback cannot fill
Redis (B-30). Two sign-ins that get the same place between callback and finish differ in their state: the
first code is lost, and its sign-in begins again.
Rule 2: a code is sealed, works once, and only with the code verifier, which is in the cookie alone.
"""

import hashlib
import json
from dataclasses import replace

from bff.crypto import Keyring
from bff.session.sessions import Sessions
from bff.web.login_transaction import MAX_CALLBACK_COOKIE, Returned, Transaction, TransactionCookies

_SLOTS = 4096
_LIFETIME = 60.0
_KIND = "code"
_PURPOSE = b"stored code v1"


class StoredCodes:
    """The stored codes of all sign-ins between callback and finish."""

    def __init__(self, keyring: Keyring, sessions: Sessions) -> None:
        self._keyring = keyring
        self._sessions = sessions

    async def with_answer(
        self, cookies: TransactionCookies, transaction: Transaction, returned: Returned, now: float
    ) -> list[str]:
        """The cookie of the transaction with the provider's answer; a code that makes it long stays here."""
        if transaction.done:
            returned = replace(returned, code=None)
        stored = cookies.store(replace(transaction, returned=returned), now, MAX_CALLBACK_COOKIE)
        if stored is None:
            code, without = returned.code, replace(returned, code=None, stored=returned.code is not None)
            stored = cookies.store(replace(transaction, returned=without), now)
            if code is not None and stored is not None:
                await self.store(transaction.state, code)
        return [] if stored is None else [stored]

    async def store(self, state: str, code: str) -> None:
        """Store a code for a minute; raises StoreUnavailableError."""
        sealed = self._keyring.seal_cookie(_PURPOSE, json.dumps([state, code]).encode())
        await self._sessions.one_time.swap(_KIND, _slot(state), sealed, lifetime=_LIFETIME)

    async def take(self, state: str) -> str | None:
        """Remove and return the code; None if it is gone; raises StoreUnavailableError."""
        sealed = await self._sessions.one_time.swap(_KIND, _slot(state), "", lifetime=_LIFETIME)
        opened = self._keyring.open_cookie(_PURPOSE, sealed) if sealed else None
        if opened is None:
            return None
        kept, code = json.loads(opened)
        return str(code) if kept == state else None


def _slot(state: str) -> str:
    return str(int.from_bytes(hashlib.sha256(state.encode("utf-8", "replace")).digest()[:4]) % _SLOTS)
