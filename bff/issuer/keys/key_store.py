"""The signing keys that all processes of an issuer share: in Redis, sealed under the server key.

`issuer:keys` is a hash: the `kid`, and beside it JSON with the key's times and its sealed private half.

Rule 1: a key is used and published only if its private half opens: a writer to Redis cannot add one.
Rule 2: every change is made on what was read (WATCH), so that two operators at once do not lose a key.
Rule 3: a key is sealed for one issuer identifier. `move` takes all keys of another one over, or none.
Rule 4: a process looks again so often that it knows a new key well before that one signs. While Redis is
down, or holds a key that does not open or whose record cannot be read, it goes on with the known keys, and
logs that; it does not start so. Such a key never stands in the way of `replace_leaked`.
"""

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, cast

import redis
from joserfc.errors import JoseError

from bff.issuer.grants.tokens import ID_TOKEN_LIFETIME, LOGOUT_TOKEN_LIFETIME
from bff.issuer.keys import key_plan
from bff.issuer.keys.key_plan import KeyLife
from bff.issuer.keys.keys import Algorithm, SigningKey
from bff.issuer.settings import IssuerSettings
from bff.issuer.store.redis import IssuerRedis
from bff.issuer.store.sealing import Sealer
from bff.observe.logs import get_logger

_log = get_logger("bff.issuer")
LONGEST_REST = 5.0
"""Seconds between two looks at the keys, at most."""
CLOCKS_DIFFER = 60.0
"""Seconds by which the clocks of verifiers may be behind."""


class KeysUnusableError(Exception):
    """No key to sign with exists; the message gives the operator the reason, and holds no secret."""


def key_store(settings: IssuerSettings, issuer_redis: IssuerRedis) -> "KeyStore":
    """The keys of an issuer with these settings; ValueError without server keys."""
    longest = max(settings.access_token_lifetime, ID_TOKEN_LIFETIME, LOGOUT_TOKEN_LIFETIME)
    overlap = longest + CLOCKS_DIFFER + LONGEST_REST
    return KeyStore(issuer_redis, Sealer(settings.sealing_keys), settings.url, settings.key_lead, overlap)


def new_key(settings: IssuerSettings) -> SigningKey:
    """Makes a key for the algorithm that the settings name."""
    return SigningKey.generate(settings.algorithm, settings.rsa_bits)


class KeyStore:
    """The keys of one issuer (`bff.issuer.keys.keys.Keys`).

    Args:
        issuer_redis: their Redis.
        sealer: opens and seals private halves.
        issuer: its identifier; keys are sealed for it.
        lead: seconds between publication and first signature.
        overlap: seconds that a replaced key stays published: the longest life of what it signed.

    Attributes:
        ask_for_newer: called where a key does not open; True if there are newer server keys, taken by now.
    """

    def __init__(
        self, issuer_redis: IssuerRedis, sealer: Sealer, issuer: str, lead: float, overlap: float
    ) -> None:
        self._client = issuer_redis.client
        self._key = issuer_redis.key("keys")
        self._sealer, self._issuer = sealer, issuer
        self.ask_for_newer: Callable[[], bool] = lambda: False
        self._lead, self._overlap = lead, overlap
        self._rest = min(LONGEST_REST, lead / 4)
        self._lock = threading.Lock()
        self._lives: list[KeyLife] = []
        self._opened: dict[str, SigningKey] = {}
        self._looked: float | None = None

    # --- what tokens are signed and read with

    def signer(self, now: float) -> SigningKey:
        """The key that signs now; raises KeysUnusableError without one."""
        life = key_plan.signer(self._look(now), now)
        if life is None:
            raise KeysUnusableError("there is no signing key; `bff issuer keys rotate` makes one")
        return self._opened[life.kid]

    def find(self, kid: str, now: float) -> SigningKey | None:
        """The key of that name, a retired one too."""
        known = any(life.kid == kid for life in key_plan.forget(self._look(now), now))
        return self._opened.get(kid) if known else None

    def published(self, now: float) -> list[SigningKey]:
        """The keys that verifiers may need."""
        return [self._opened[life.kid] for life in key_plan.published(self._look(now), now)]

    # --- what operators do

    def lives(self, now: float) -> list[tuple[KeyLife, Algorithm]]:
        """Returns all keys as Redis has them now."""
        self._read(now)
        return [(life, self._opened[life.kid].algorithm) for life in self._lives]

    def begin(self, new: Callable[[], SigningKey], now: float) -> None:
        """Makes the first key where there is none; of several processes one does."""
        if not self._client.exists(self._key):
            key = new()
            self._change(key, lambda lives: lives or key_plan.add([], key.kid, now, lead=0, overlap=0))
        self._read(now)

    def rotate(self, key: SigningKey, now: float) -> None:
        """Publishes a new key, which signs after the lead; `key_plan.KeyWaitsError` where one waits."""
        self._change(
            key, lambda lives: key_plan.add(lives, key.kid, now, lead=self._lead, overlap=self._overlap)
        )
        self._read(now)

    def replace_leaked(self, key: SigningKey, now: float) -> None:
        """Signs with a new key at once, and forgets all others, unread."""
        pipe = self._client.pipeline(transaction=True)
        pipe.delete(self._key)
        for life in key_plan.replace_leaked(key.kid, now):
            pipe.hset(self._key, life.kid, self._record(life, key))
        pipe.execute()
        self._read(now)

    def move(self, former: str, now: float, *, dry_run: bool = False) -> list[str]:
        """Seals the keys of a former identifier for this issuer: all of them, or none.

        Keys that are this issuer's already stay as they are.

        Args:
            former: the identifier that they were sealed for.
            now: seconds since 1970.
            dry_run: writes nothing.

        Returns:
            The `kid` of each.

        Raises:
            KeysUnusableError: there is nothing to move, or one opens for neither.
        """
        moved: list[str] = []

        def apply(pipe: Any) -> None:
            fields = cast("Mapping[str, str]", pipe.hgetall(self._key))
            records = {kid: _record_of(kid, text) for kid, text in fields.items()}
            moved[:] = [
                kid for kid, (_, sealed) in records.items() if self._unseal(kid, sealed, self._issuer) is None
            ]
            keys = {kid: self._open_former(kid, records[kid][1], former) for kid in moved}
            pipe.multi()
            for kid in [] if dry_run else moved:
                pipe.hset(self._key, kid, self._record(records[kid][0], keys[kid]))

        self._client.transaction(apply, self._key)
        if not moved:
            raise KeysUnusableError("there is no key to move: no other url has left one here")
        if not dry_run:
            self._read(now)
        return sorted(moved)

    def take_server_keys(self, sealer: Sealer) -> None:
        """Opens and seals with newer server keys from now on.

        Raises:
            KeysUnusableError: a key in Redis does not open with them: the former ones stay in force.
        """
        for kid, text in cast("Mapping[str, str]", self._client.hgetall(self._key)).items():
            if sealer.open(_record_of(kid, text)[1], self._bound_to(kid, self._issuer)) is None:
                raise KeysUnusableError(f"the signing key {kid} does not open with them")
        self._sealer = sealer

    # --- Redis

    def _look(self, now: float) -> Sequence[KeyLife]:
        """The known keys; read again when due, by one thread while the others go on."""
        if self._looked is not None and abs(now - self._looked) < self._rest:
            return self._lives
        if not self._lock.acquire(blocking=self._looked is None):
            return self._lives
        try:
            if self._looked is None or abs(now - self._looked) >= self._rest:
                self._read(now)
        except (redis.RedisError, KeysUnusableError) as error:
            if not self._lives:
                raise
            self._looked = now
            _log.error("signing_keys_not_read", reason=str(error) or type(error).__name__)
        finally:
            self._lock.release()
        return self._lives

    def _read(self, now: float) -> None:
        fields = cast("Mapping[str, str]", self._client.hgetall(self._key))
        lives, opened = [], {}
        for kid, text in fields.items():
            life, sealed = _record_of(kid, text)
            opened[kid] = self._opened.get(kid) or self._open(kid, sealed)
            lives.append(life)
        # In this order: a thread that reads the lives between the two lines finds each key opened.
        self._opened = {**self._opened, **opened}
        self._lives = sorted(lives, key=lambda life: (life.signs_from, life.kid))
        self._looked = now

    def _unseal(self, kid: str, sealed: str, issuer: str) -> str | None:
        bound_to = self._bound_to(kid, issuer)
        plaintext = self._sealer.open(sealed, bound_to)
        if plaintext is None and self.ask_for_newer():
            plaintext = self._sealer.open(sealed, bound_to)
        return plaintext

    def _open(self, kid: str, sealed: str) -> SigningKey:
        plaintext = self._unseal(kid, sealed, self._issuer)
        if plaintext is None:
            raise KeysUnusableError(
                f"the signing key {kid} does not open: it was sealed with another server key, for another "
                "url (`bff issuer keys move` takes those over), or changed"
            )
        return _parsed(kid, plaintext)

    def _open_former(self, kid: str, sealed: str, former: str) -> SigningKey:
        plaintext = self._unseal(kid, sealed, former)
        if plaintext is None:
            raise KeysUnusableError(
                f"the signing key {kid} opens neither for {self._issuer} nor for {former}: nothing was moved"
            )
        return _parsed(kid, plaintext)

    def _change(self, new: SigningKey, change: Callable[[list[KeyLife]], list[KeyLife]]) -> None:
        """Applies a decision to the keys in Redis; the others are sealed anew under the newest server key."""

        def apply(pipe: Any) -> None:
            fields = cast("Mapping[str, str]", pipe.hgetall(self._key))
            records = {kid: _record_of(kid, text) for kid, text in fields.items()}
            keys = {kid: self._open(kid, sealed) for kid, (_, sealed) in records.items()}
            lives = change([life for life, _ in records.values()])
            keys[new.kid] = new
            pipe.multi()
            pipe.delete(self._key)
            pipe.hset(self._key, mapping={life.kid: self._record(life, keys[life.kid]) for life in lives})

        self._client.transaction(apply, self._key)

    def _record(self, life: KeyLife, key: SigningKey) -> str:
        sealed = self._sealer.seal(json.dumps(key.document()), self._bound_to(life.kid, self._issuer))
        times = {name: value for name, value in asdict(life).items() if name != "kid"}
        return json.dumps({**times, "private": sealed})

    @staticmethod
    def _bound_to(kid: str, issuer: str) -> bytes:
        return f"{issuer}\n{kid}".encode()


def _record_of(kid: str, text: str) -> tuple[KeyLife, str]:
    """Returns a key's life and its sealed private half; KeysUnusableError for a record that is none."""
    found = None
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        record = json.loads(text)
        sealed, life = record.pop("private"), KeyLife(kid=kid, **record)
        times = [life.created, life.signs_from, *([] if life.retires is None else [life.retires])]
        if isinstance(sealed, str) and all(map(_is_time, times)):
            found = life, sealed
    if found is None:
        raise KeysUnusableError(f"the record of the signing key {kid} cannot be read: it was changed")
    return found


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _parsed(kid: str, plaintext: str) -> SigningKey:
    try:
        return SigningKey.read(json.loads(plaintext))
    except (JoseError, ValueError, TypeError) as error:
        raise KeysUnusableError(f"the signing key {kid} cannot be read") from error
