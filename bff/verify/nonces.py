"""The nonces that a backend asks DPoP proofs for (RFC 9449 9): made of the time, and kept nowhere.

A nonce is a MAC of the number of its period. The one of the period before is good as well, so that no client
is turned away in the moment of a change.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode

MIN_KEY = 32  # bytes


class Nonces:
    """The nonces of a backend.

    Args:
        key: what they are made with, at least 32 random bytes; the same in all processes of the backend. None
            makes one for this process alone.
        lifetime: seconds for which one is handed out; it is good for as long again.
    """

    def __init__(self, key: bytes | None = None, lifetime: float = 300.0) -> None:
        if key is not None and len(key) < MIN_KEY:
            raise ValueError(f"the key of nonces has at least {MIN_KEY} bytes")
        self._key = key or secrets.token_bytes(MIN_KEY)
        self._lifetime = lifetime

    def current(self, now: float) -> str:
        """Returns the nonce to hand out; `now` is in seconds since 1970."""
        return self._of(int(now // self._lifetime))

    def is_good(self, nonce: str | None, now: float) -> bool:
        """Returns True for the current nonce and the one before."""
        if nonce is None or not nonce.isascii():
            return False
        period = int(now // self._lifetime)
        return any(hmac.compare_digest(nonce, self._of(each)) for each in (period, period - 1))

    def _of(self, period: int) -> str:
        mac = hmac.digest(self._key, f"dpop-nonce {period}".encode(), "sha256")
        return urlsafe_b64encode(mac).rstrip(b"=").decode()
