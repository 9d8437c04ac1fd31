"""DPoP proofs that were used, and the nonces that clients have to repeat in them (RFC 9449 8 and 11.1).

Rule 1: a proof is noted in one atomic step; of two uses at once one is the first.
Rule 2: all issuers on one Redis hand out the same nonce; the one of the period before is good as well.
"""

import secrets
from typing import cast

from bff.issuer.store.redis import IssuerRedis
from bff.verify.dpop import LEEWAY, MAX_AGE, Proof

NONCE_LIFETIME = 300
"""Seconds for which a nonce is handed out; it is good for as long again."""


class UsedProofs:
    """The proofs and nonces in Redis; calls block. Times are seconds since 1970."""

    def __init__(self, redis: IssuerRedis) -> None:
        self._redis = redis

    def first_use(self, proof: Proof, now: float) -> bool:
        """Notes a proof; False if it was used before."""
        left = max(1, int(proof.iat + MAX_AGE + 2 * LEEWAY - now))
        return bool(
            self._redis.client.set(self._redis.key("dpop", proof.memory_key()), "1", nx=True, ex=left)
        )

    def nonce(self, now: float) -> str:
        """Returns the nonce to hand out."""
        key, made = self._key(int(now // NONCE_LIFETIME)), secrets.token_urlsafe(24)
        if self._redis.client.set(key, made, nx=True, ex=2 * NONCE_LIFETIME):
            return made
        return cast("str | None", self._redis.client.get(key)) or made

    def is_good(self, nonce: str | None, now: float) -> bool:
        """Returns True for the current nonce and the one before."""
        period = int(now // NONCE_LIFETIME)
        known = cast("list[str | None]", self._redis.client.mget(self._key(period), self._key(period - 1)))
        return nonce is not None and nonce in known

    def _key(self, period: int) -> str:
        return self._redis.key("dpop-nonce", str(period))
