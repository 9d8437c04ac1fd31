"""Revoked access tokens: by `jti`, and by the `sid` of their sign-in (sign_in_sessions.py).

Both lie as `issuer:revoked:jti:<jti>` and `issuer:revoked:sid:<sid>`, for as long as a token could still be
good; verifiers may look there themselves.
"""

from bff.issuer.store.redis import IssuerRedis


class RevokedTokens:
    """The list in Redis."""

    def __init__(self, redis: IssuerRedis) -> None:
        self._redis = redis

    def revoke(self, jti: str, reason: str, exp: float, now: float) -> None:
        """Ends one access token; `exp` is its own end."""
        left = int(exp - now) + 1
        if left > 0:
            self._redis.client.set(self._redis.key("revoked:jti", jti), reason, ex=left)

    def covers(self, jti: str, sid: str | None) -> bool:
        """Returns True if a token was revoked, alone or with its sign-in; a client's own has none."""
        signed_in = () if sid is None else (self._redis.key("revoked:sid", sid),)
        keys = (self._redis.key("revoked:jti", jti), *signed_in)
        return bool(self._redis.client.exists(*keys))
