"""Refresh families: the refresh tokens that follow from one sign-in at one client.

Rule 1: a token is taken and its successor installed in one atomic step on one key, before anything is issued.
Rule 2: a token of a family that is not its valid one is a used one: the family ends (RFC 9700 4.14.2).
Rule 3: only SHA-256 of a token is stored. With a grace, the successor lies beside it, sealed under a key that
needs the predecessor to derive: a reader of Redis cannot open it, a client that lost the answer can.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from bff.issuer.store.redis import IssuerRedis, digest
from bff.issuer.store.sealing import open_with_token, seal_with_token

# The immediate predecessor gets the same successor again while the grace lasts; the successor's first use
# moves `previous` on, so that no older generation ever does.
_ROTATE = """
local family = redis.call('HMGET', KEYS[1], 'current', 'previous', 'sealed', 'grace_ends')
if not family[1] then return {'gone'} end
local now, grace = tonumber(ARGV[3]), tonumber(ARGV[4])
if family[1] == ARGV[1] then
  redis.call('HSET', KEYS[1], 'current', ARGV[2])
  if grace > 0 then
    redis.call('HSET', KEYS[1], 'previous', ARGV[1], 'sealed', ARGV[5], 'grace_ends', now + grace)
  else
    redis.call('HDEL', KEYS[1], 'previous', 'sealed', 'grace_ends')
  end
  return {'rotated'}
end
if family[2] == ARGV[1] and now < tonumber(family[4]) then return {'again', family[3]} end
redis.call('DEL', KEYS[1])
return {'reused'}
"""


@dataclass(frozen=True, slots=True)
class Family:
    """The refresh tokens that follow from one sign-in at one client; `ends` is in seconds since 1970."""

    client_id: str
    scope: str
    sub: str
    sid: str
    auth_time: int
    ends: float
    resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token in its two parts: the family, and the token in it. Both are unguessable."""

    family_id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.family_id}.{self.secret}"

    __repr__ = object.__repr__

    @property
    def family(self) -> str:
        """The family's key, without prefix."""
        return digest(self.family_id)

    def successor(self) -> "RefreshToken":
        """Makes the token that follows in the same family."""
        return RefreshToken(self.family_id, secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> "RefreshToken | None":
        """Parses a token; None for a text that cannot be one of ours."""
        family_id, dot, secret = text.partition(".")
        return cls(family_id, secret) if dot and family_id and secret and len(text) <= 100 else None  # noqa: PLR2004 - ours have 68


@dataclass(frozen=True, slots=True)
class Found:
    """A family, and the state of the token that named it.

    Attributes:
        family: the grant of the family.
        current: the token is the valid one.
        usable: the token is the valid one, or its predecessor within the grace.
    """

    family: Family
    current: bool
    usable: bool


@dataclass(frozen=True, slots=True)
class Rotated:
    """The token was taken; the client gets the successor."""

    successor: RefreshToken


@dataclass(frozen=True, slots=True)
class Reused:
    """The token had been used before: the family is over."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The family does not exist, or no longer."""


class RefreshFamilies:
    """The families in Redis."""

    def __init__(self, redis: IssuerRedis) -> None:
        self._redis = redis
        self._client = redis.client
        self._rotate = self._client.register_script(_ROTATE)

    def start(self, token: RefreshToken, family: Family, now: float) -> None:
        """Stores a new family with its first token; it ends by itself at `family.ends`."""
        with self._client.pipeline(transaction=True) as pipe:
            fields: dict[Any, Any] = {"current": digest(token.secret), "record": json.dumps(asdict(family))}
            pipe.hset(self._key(token.family), mapping=fields)
            pipe.expire(self._key(token.family), max(1, int(family.ends - now)))
            pipe.execute()

    def find(self, token: RefreshToken, now: float) -> Found | None:
        """Returns the family of a token, a used one too, or None if there is no such family."""
        fields = cast("Mapping[str, Any]", self._client.hgetall(self._key(token.family)))
        if not fields:
            return None
        record, presented = json.loads(fields["record"]), digest(token.secret)
        family = Family(**{**record, "resources": tuple(record.get("resources", ()))})
        in_grace = fields.get("previous") == presented and now < float(fields["grace_ends"])
        current = fields["current"] == presented
        return Found(family, current, current or in_grace)

    def rotate(self, token: RefreshToken, now: float, grace: float = 0) -> Rotated | Reused | Gone:
        """Takes a token and installs its successor in one step; a used one ends the family instead.

        Args:
            token: the presented one.
            now: seconds since 1970.
            grace: seconds in which the immediate predecessor gets the same successor again.
        """
        successor = token.successor()
        sealed = seal_with_token(token.secret, successor.secret) if grace > 0 else ""
        arguments: list[Any] = [digest(token.secret), digest(successor.secret), now, grace, sealed]
        outcome, *rest = cast("list[str]", self._rotate(keys=[self._key(token.family)], args=arguments))
        if outcome == "rotated":
            return Rotated(successor)
        if outcome == "again" and (secret := open_with_token(token.secret, rest[0])) is not None:
            return Rotated(RefreshToken(token.family_id, secret))
        return Gone() if outcome == "gone" else Reused()

    def end(self, family: str) -> None:
        """Ends a family: none of its tokens is good any more."""
        self._client.delete(self._key(family))

    def _key(self, family: str) -> str:
        return self._redis.key("family", family)
