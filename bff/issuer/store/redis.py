"""The issuer's Redis: the connection, the names of its keys, and the form in which secrets are stored.

| key | type | holds |
|---|---|---|
| `issuer:user:<sub>`, `issuer:email:<address>` | hash, string | the accounts (see `accounts.py`) |
| `issuer:session:<hash>` | string (JSON), EX | a browser's sign-in here |
| `issuer:sid:<sid>` | hash, EX | all that began with one sign-in: its cookie, families and clients |
| `issuer:sids:<sub>` | sorted set, score = end | the sign-ins of an account |
| `issuer:code:<hash>` | string (JSON), EX | an authorization code that nobody has presented yet |
| `issuer:spent:<hash>` | string (JSON), EX | a code that was presented |
| `issuer:family:<hash>` | hash, EX | a refresh family: the hash of its one valid token |
| `issuer:issued:<hash or jti>` | sorted set, EX | access tokens by their origin (see `issued_tokens.py`) |
| `issuer:keys` | hash | the signing keys, sealed (see `key_store.py`) |
| `issuer:par:<hash>`, `issuer:par-spent:<hash>` | string (JSON), EX | a pushed request, before and after |
| `issuer:par-seen:<hash>` | string, EX | the mark of a pushed request that a browser has come with |
| `issuer:tries:…`, `issuer:devices:…` | string, sorted set, EX | password guesses (see `rate_limits.py`) |
| `issuer:assertion:<hash>` | string, EX | a client's assertion that was used |
| `issuer:dpop:<hash>` | string, EX | a DPoP proof that was used |
| `issuer:dpop-nonce:<period>` | string, EX | the nonce of a period, for such proofs |
| `issuer:logouts`, `issuer:logout:<id>` | sorted set, hash | clients yet to be told of an end |
| `issuer:revoked:sid:<sid>`, `issuer:revoked:jti:<jti>` | string (why), EX | what ended before its time |

Rule 1: of cookies, codes and tokens only SHA-256 is stored: a reader of Redis can use none of them.
Rule 2: calls block, so the app makes them in a thread. They raise `redis.RedisError` when Redis is down.
"""

import hashlib

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_MAX_DIGITS = 11  # a time that a calendar has: the year 5138
TIMEOUT = 5.0
"""Seconds for connecting and for each answer: a busy machine is no outage."""


def connect(url: str) -> "redis.Redis":
    """Makes the client. Writes are never resent blindly (a rotation done twice would be a reuse)."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="replace",  # bytes of another program that are no text end no request
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )


def read_number(text: str) -> int | None:
    """Returns a number of few digits; None for any other text: of thousands of digits, `int` takes none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def digest(secret: str) -> str:
    """The form in which a secret is stored: SHA-256 in hex. The secrets here have 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


class IssuerRedis:
    """A client and the prefix of all keys; safe to share between threads."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self.client = client
        self._prefix = prefix

    def key(self, kind: str, name: str = "") -> str:
        """The full name of a key."""
        return f"{self._prefix}:{kind}:{name}" if name else f"{self._prefix}:{kind}"

    def ping(self) -> None:
        """Raises unless Redis answers."""
        self.client.ping()
