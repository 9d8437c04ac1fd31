"""The signing keys that all processes of an issuer share: in Redis, sealed under the server key.

`issuer:keys` is a hash: the `kid`, and beside it JSON with the key's times and its sealed private half.

Rule 1: a key is used and published only if its private half opens, for its times: a writer to Redis can
neither add one nor change when one signs or retires (`key_record.py`).
Rule 2: every change is made on what was read (WATCH), so that two operators at once do not lose a key.
Rule 3: a key is sealed for one issuer identifier. `move` takes all keys of another one over, or none.
Rule 4: a process looks again so often that it knows a new key well before that one signs. While Redis is
down, or holds a key that does not open or whose record cannot be read, it goes on with the known keys, and
logs that; it does not start so. Such a key never stands in the way of `replace_leaked`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import redis

from bff.issuer.grants.tokens import ID_TOKEN_LIFETIME, LOGOUT_TOKEN_LIFETIME
from bff.issuer.keys import key_plan, key_record
from bff.issuer.keys.key_plan import KeyLife
from bff.issuer.keys.key_record import KeyRecord, KeysUnusableError, OpenedKey
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
        self._fields: Mapping[str, str] = {}  # the records that these were read from
        self._has_sealed = False
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

    @property
    def has_sealed_times(self) -> bool:
        """False while Redis has keys as version 0.1 wrote them: `rotate` seals them anew."""
        return self._has_sealed

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

        Keys that are this issuer's already stay so.

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
            records = [KeyRecord.read(kid, text) for kid, text in fields.items()]
            own = {record.life.kid: self._unseal(record, self._issuer) for record in records}
            moved[:] = [kid for kid, key in own.items() if key is None]
            keys = [own[record.life.kid] or self._open_former(record, former) for record in records]
            key_record.refuse_mixed(keys, sealed_before=False)
            pipe.multi()
            for one in [] if dry_run else keys:
                pipe.hset(self._key, one.life.kid, self._record(one.life, one.key))

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
            if KeyRecord.read(kid, text).open(sealer, self._issuer) is None:
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
        if fields != self._fields:
            keys = self._open_all(fields)
            # In this order: a thread that reads the lives between the two lines finds each key opened.
            self._opened = {**self._opened, **{one.life.kid: one.key for one in keys}}
            self._lives = sorted((one.life for one in keys), key=lambda life: (life.signs_from, life.kid))
            self._fields = fields
            self._has_sealed = self._has_sealed or any(one.has_sealed_times for one in keys)
        self._looked = now

    def _open_all(self, fields: Mapping[str, str]) -> list[OpenedKey]:
        keys = [self._open(KeyRecord.read(kid, text)) for kid, text in fields.items()]
        key_record.refuse_mixed(keys, sealed_before=self._has_sealed)
        return keys

    def _unseal(self, record: KeyRecord, issuer: str) -> OpenedKey | None:
        opened = record.open(self._sealer, issuer)
        if opened is None and self.ask_for_newer():
            opened = record.open(self._sealer, issuer)
        return opened

    def _open(self, record: KeyRecord) -> OpenedKey:
        opened = self._unseal(record, self._issuer)
        if opened is None:
            raise KeysUnusableError(
                f"the signing key {record.life.kid} does not open: it was sealed with another server key, "
                "for another url (`bff issuer keys move` takes those over), or changed"
            )
        return opened

    def _open_former(self, record: KeyRecord, former: str) -> OpenedKey:
        opened = self._unseal(record, former)
        if opened is None:
            raise KeysUnusableError(
                f"the signing key {record.life.kid} opens neither for {self._issuer} nor for {former}: "
                "nothing was moved"
            )
        return opened

    def _change(self, new: SigningKey, change: Callable[[list[KeyLife]], list[KeyLife]]) -> None:
        """Applies a decision to the keys in Redis; the others are sealed anew under the newest server key."""

        def apply(pipe: Any) -> None:
            fields = cast("Mapping[str, str]", pipe.hgetall(self._key))
            found = self._open_all(fields)
            keys = {one.life.kid: one.key for one in found}
            lives = change([one.life for one in found])
            keys[new.kid] = new
            pipe.multi()
            pipe.delete(self._key)
            pipe.hset(self._key, mapping={life.kid: self._record(life, keys[life.kid]) for life in lives})

        self._client.transaction(apply, self._key)

    def _record(self, life: KeyLife, key: SigningKey) -> str:
        return key_record.write(life, key, self._sealer, self._issuer)
