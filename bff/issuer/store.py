"""What the issuer keeps in Redis: sign-ins, authorization codes, refresh families.

| key | type | holds |
|---|---|---|
| `issuer:session:<hash>` | string (JSON), EX | a browser's sign-in here |
| `issuer:code:<hash>` | hash, EX | an authorization code, and how often it was presented |
| `issuer:family:<hash>` | hash, EX | a refresh family: the hash of its one valid token |
| `issuer:sid:<sid>` | set, EX | the families that began with one sign-in |
| `issuer:ended:<sid>` | string, EX | a sign-out, for as long as a code can be older than it |

Rule 1: of cookies, codes and tokens only SHA-256 is stored: whoever reads Redis can use none of them.
Rule 2: a code or refresh token is taken in one atomic step on one key, before anything is issued for it.
Rule 3: a token of a family that is not its valid one is a used one: the family ends (RFC 9700 4.14.2).

Calls block: the app makes them in a thread. They raise `redis.RedisError` when Redis is not usable.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

# Counts one presentation of a code that exists. A code is spent by the first; see `codes` in grants.py.
_PRESENT_CODE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local uses = redis.call('HINCRBY', KEYS[1], 'uses', 1)
return {uses, redis.call('HGET', KEYS[1], 'record')}
"""
# Replaces the valid token of a family by its successor, or ends the family if the token was a used one.
_ROTATE = """
local current = redis.call('HGET', KEYS[1], 'current')
if not current then return 'gone' end
if current ~= ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 'reused'
end
redis.call('HSET', KEYS[1], 'current', ARGV[2])
return 'rotated'
"""
SPENT_CODE_KEPT = 600  # seconds in which a second use of a code is recognised, and ends what the first began


@dataclass(frozen=True, slots=True)
class SignIn:
    """A browser's sign-in at the issuer. `auth_time` is in seconds since 1970."""

    sub: str
    sid: str
    auth_time: int


@dataclass(frozen=True, slots=True)
class Code:
    """What an authorization code stands for; `family` is the first half of the refresh tokens to come."""

    client_id: str
    redirect_uri: str
    scope: str
    sub: str
    sid: str
    auth_time: int
    nonce: str
    code_challenge: str
    family: str
    expires: float


@dataclass(frozen=True, slots=True)
class Family:
    """The refresh tokens that follow from one sign-in at one client; `ends` is in seconds since 1970."""

    client_id: str
    scope: str
    sub: str
    sid: str
    auth_time: int
    ends: float


def digest(secret: str) -> str:
    """The form in which a secret is stored: SHA-256 in hex. The secrets here have 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token in its two parts: which family, and which of its tokens. Both are unguessable."""

    family_id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.family_id}.{self.secret}"

    @property
    def family(self) -> str:
        """The family's key, without prefix."""
        return digest(self.family_id)

    def successor(self) -> "RefreshToken":
        """Makes the token that follows in the same family."""
        return RefreshToken(self.family_id, secrets.token_urlsafe(32))

    @classmethod
    def first(cls) -> "RefreshToken":
        """Makes the first token of a new family."""
        return cls(secrets.token_urlsafe(18), secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> "RefreshToken | None":
        """Takes a token apart; None for what cannot be one of ours."""
        family_id, dot, secret = text.partition(".")
        return cls(family_id, secret) if dot and family_id and secret and len(text) <= 100 else None  # noqa: PLR2004 - ours have 68


class Store:
    """The issuer's only Redis code; synchronous and safe to share between threads."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._redis = client
        self._prefix = prefix
        self._present_code = client.register_script(_PRESENT_CODE)
        self._rotate = client.register_script(_ROTATE)

    def ping(self) -> None:
        """Raises unless Redis answers."""
        self._redis.ping()

    def key(self, kind: str, name: str) -> str:
        """The full name of a key."""
        return f"{self._prefix}:{kind}:{name}"

    # --- sign-ins

    def save_sign_in(self, cookie: str, sign_in: SignIn, lifetime: float) -> None:
        """Remembers a browser; the cookie is new and made here."""
        self._redis.set(self.key("session", digest(cookie)), json.dumps(asdict(sign_in)), ex=int(lifetime))

    def find_sign_in(self, cookie: str) -> SignIn | None:
        """Returns who is signed in with this cookie, or None."""
        text = cast("str | None", self._redis.get(self.key("session", digest(cookie))))
        return None if text is None else SignIn(**json.loads(text))

    def end_sign_in(self, cookie: str) -> None:
        """Forgets a browser. Refresh families are ended apart."""
        self._redis.delete(self.key("session", digest(cookie)))

    # --- codes

    def save_code(self, code: str, record: Code, lifetime: float) -> None:
        """Stores what a new code stands for. It stays a while after its end, so that reuse is recognised."""
        key = self.key("code", digest(code))
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, "record", json.dumps(asdict(record)))
            pipe.expire(key, int(lifetime) + SPENT_CODE_KEPT)
            pipe.execute()

    def present_code(self, code: str) -> tuple[int, Code] | None:
        """Counts a presentation; returns how many there were so far, or None if there is no such code."""
        answer = self._present_code(keys=[self.key("code", digest(code))])
        if answer is None:
            return None
        uses, record = cast("tuple[int, str]", answer)
        return int(uses), Code(**json.loads(record))

    def count_presentations(self, code: str) -> int:
        """How often a code has been presented."""
        return int(cast("str | None", self._redis.hget(self.key("code", digest(code)), "uses")) or 0)

    # --- refresh families

    def start_family(self, token: RefreshToken, family: Family, now: float) -> None:
        """Stores a new family with its first token; it ends by itself at `family.ends`."""
        lifetime = max(1, int(family.ends - now))
        index = self.key("sid", family.sid)
        # The index first: a family that no index names could not be ended by its sign-in.
        self._redis.sadd(index, token.family)
        if self._redis.ttl(index) < lifetime:
            self._redis.expire(index, lifetime)
        key = self.key("family", token.family)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping={"current": digest(token.secret), "record": json.dumps(asdict(family))})
            pipe.expire(key, lifetime)
            pipe.execute()

    def find_family(self, token: RefreshToken) -> tuple[Family, bool] | None:
        """Returns the family and whether this token is its valid one, or None if there is no such family."""
        fields = cast("Mapping[str, Any]", self._redis.hgetall(self.key("family", token.family)))
        if not fields:
            return None
        return Family(**json.loads(fields["record"])), fields["current"] == digest(token.secret)

    def rotate(self, token: RefreshToken, successor: RefreshToken) -> Literal["rotated", "reused", "gone"]:
        """Takes a token and installs its successor in one step; a used one ends the family instead."""
        arguments = [digest(token.secret), digest(successor.secret)]
        answer = self._rotate(keys=[self.key("family", token.family)], args=arguments)
        return cast('Literal["rotated", "reused", "gone"]', answer)

    def end_family(self, family: str) -> None:
        """Ends a family: none of its tokens is good any more."""
        self._redis.delete(self.key("family", family))

    def end_families_of(self, sid: str) -> None:
        """Ends every family that began with this sign-in, and those that its unused codes would begin."""
        self._redis.set(self.key("ended", sid), "1", ex=SPENT_CODE_KEPT)
        index = self.key("sid", sid)
        for family in cast("set[str]", self._redis.smembers(index)):
            self.end_family(family)
        self._redis.delete(index)

    def has_ended(self, sid: str) -> bool:
        """Tells whether a sign-in was ended so lately that codes of it could still be at hand."""
        return bool(self._redis.exists(self.key("ended", sid)))


def connect(url: str) -> "redis.Redis":
    """Makes the client. Writes are never resent blindly (a rotation done twice would be a reuse)."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )
