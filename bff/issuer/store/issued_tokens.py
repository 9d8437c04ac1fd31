"""The index from a grant to its access tokens, so that they end with it (RFC 7009 2.1).

`issuer:issued:<name>` is a sorted set: the `jti` of each token that came from a refresh family, or from a
token that was exchanged, and when it ends.

Rule: a token is named here before it is made, and before the last look at its origin: an end of the origin
finds it.
"""

import secrets
from typing import cast

from bff.issuer.store.redis import IssuerRedis
from bff.issuer.store.revoked_tokens import RevokedTokens

_DEEPEST = 16  # exchanges of exchanged tokens


class IssuedTokens:
    """The tokens in Redis; calls block. Times are seconds since 1970."""

    def __init__(self, redis: IssuerRedis, revoked_tokens: RevokedTokens) -> None:
        self._redis = redis
        self._revoked_tokens = revoked_tokens

    def name(self, origin: str, lifetime: float, now: float) -> str:
        """Makes a `jti` for a token that will come from a family (its key) or from a token (its jti)."""
        jti, key = secrets.token_urlsafe(16), self._redis.key("issued", origin)
        with self._redis.client.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(key, "-inf", now)
            pipe.zadd(key, {jti: now + lifetime})
            pipe.expire(key, int(lifetime) + 1)
            pipe.execute()
        return jti

    def end(self, origin: str, reason: str, now: float, deep: int = 0) -> None:
        """Revokes all tokens that came from this origin, and from those tokens in turn."""
        key = self._redis.key("issued", origin)
        found = self._redis.client.zrangebyscore(key, now, "+inf", withscores=True)
        for jti, ends in cast("list[tuple[str, float]]", found):
            self._revoked_tokens.revoke(jti, reason, ends, now)
            if deep < _DEEPEST:
                self.end(jti, reason, now, deep + 1)
        self._redis.client.delete(key)
