"""The people who can sign in: address, password, name, roles, tenant.

| key | type | holds |
|---|---|---|
| `issuer:user:<sub>` | hash | the account; `password` is an argon2id hash |
| `issuer:email:<address>` | string | the `sub` of the account with this address |

Neither has a TTL. Fields: `email name password roles tenant created changed suspended generation`.

Rule 1: a wrong password and an unknown address give the same answer and cost the same time; that an account
is suspended is told only to a user who has its password.
Rule 2: an address belongs to one account: both keys are written in one step, or neither.
Rule 3: no update makes an account. A change that ends all sign-ins of an account raises its `generation` in
the same step: a sign-in that was under way compares it afterwards (see termination.py).
Rule 4: an account that another program wrote without address or name, or with a number that cannot be read,
counts as suspended, and the log names the fields (`account_unusable`).

Calls block. They raise `redis.RedisError` when Redis is not usable.
"""

import secrets
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

from bff.issuer.accounts.passwords import Passwords
from bff.issuer.settings import PasswordCost, UserSettings
from bff.issuer.store.redis import read_number
from bff.observe.logs import get_logger

MAX_ADDRESS = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
MAX_LOCAL_PART = 64

_NUMBERS = ("created", "suspended", "generation")
_log = get_logger("bff.issuer")

_ADD = """
local other = redis.call('GET', KEYS[2])
if other and redis.call('EXISTS', ARGV[1] .. other) == 1 then return 'address' end
if redis.call('EXISTS', KEYS[1]) == 1 then return 'sub' end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('SET', KEYS[2], ARGV[2])
return 'added'
"""
_CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
if #ARGV > 1 then redis.call('HSET', KEYS[1], unpack(ARGV, 2)) end
return redis.call('HINCRBY', KEYS[1], 'generation', ARGV[1])
"""
_REPLACE_HASH = """
if redis.call('HGET', KEYS[1], 'password') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'password', ARGV[2])
return 1
"""


class AccountError(ValueError):
    """An account cannot be made or changed in this way; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account. Times are in whole seconds since 1970.

    `unusable` names the fields that are missing or cannot be read: the account counts as suspended.
    """

    sub: str
    email: str
    name: str
    roles: tuple[str, ...] = ()
    tenant: str = ""
    created: int = 0
    suspended: int | None = None
    generation: int = 0
    unusable: tuple[str, ...] = ()


class Accounts:
    """The accounts in Redis."""

    def __init__(self, client: "redis.Redis", prefix: str, cost: PasswordCost) -> None:
        self._redis = client
        self._prefix = prefix
        self._passwords = Passwords(cost)
        self._add = client.register_script(_ADD)
        self._change = client.register_script(_CHANGE)
        self._replace_hash = client.register_script(_REPLACE_HASH)

    # --- making

    def add(self, user: UserSettings, now: float) -> Account:
        """Makes an account; raises AccountError if the address is malformed, or it or the sub is taken."""
        email = normal_address(user.email)
        if email is None:
            raise AccountError(f"{user.email!r} is no email address.")
        sub = user.sub or secrets.token_hex(16)
        fields: dict[str, str | int] = {
            "email": email,
            "name": user.name,
            "password": self._passwords.hash(user.password.get_secret_value()),
            "roles": " ".join(user.roles),
            "tenant": user.tenant,
            "created": int(now),
            "changed": int(now),
            "generation": 0,
        }
        flat = [part for field in fields.items() for part in field]
        outcome = self._add(
            keys=[self._user_key(sub), self._address_key(email)], args=[self._user_key(""), sub, *flat]
        )
        if outcome == "address":
            raise AccountError(f"There is an account with the address {email} already.")
        if outcome == "sub":
            raise AccountError(f"There is an account with the sub {sub} already.")
        return _account(sub, {name: str(value) for name, value in fields.items()})

    def add_missing(self, users: Iterable[UserSettings]) -> None:
        """Makes the accounts whose addresses have none yet; several processes may do so at once."""
        for user in users:
            if self.named(user.email) is None:
                try:
                    self.add(user, time.time())
                except AccountError:
                    if self.named(user.email) is None:
                        raise

    # --- finding

    def find(self, sub: str) -> Account | None:
        """Returns an account that may be used; None for one that is missing or suspended."""
        account = self.read(sub)
        return account if account is not None and account.suspended is None else None

    def read(self, sub: str) -> Account | None:
        """Returns an account, a suspended one too."""
        fields = self._fields(sub)
        return _account(sub, fields) if fields else None

    def named(self, name: str) -> Account | None:
        """Returns the account with this address, or with this sub."""
        address = normal_address(name)
        return self.read((self._sub_of(address) if address else None) or name)

    def every(self) -> Iterator[Account]:
        """Goes through all accounts, in no order."""
        for key in self._redis.scan_iter(match=self._user_key("*"), count=500):
            if (account := self.read(key.removeprefix(self._user_key("")))) is not None:
                yield account

    # --- passwords

    def check(self, email: str, password: str) -> Account | None:
        """Returns the account of an address and a password, suspended or not; else None, at the same cost.

        (Where the parameters of the hash were changed, an account that has not signed in since has the old
        cost; each sign-in stores the password anew under the present ones.)
        """
        sub = self._sub_of(normal_address(email) or "") or ""  # neither key can exist
        fields = self._fields(sub)
        stored = fields.get("password")
        if not self._passwords.verify(stored, password) or stored is None:
            return None
        if self._passwords.is_outdated(stored):
            renewed = self._passwords.hash(password)
            self._replace_hash(keys=[self._user_key(sub)], args=[stored, renewed])
        return _account(sub, fields)

    # --- changes; the caller ends the account's sign-ins (termination.py)

    def set_password(self, sub: str, password: str, now: float) -> None:
        """Replaces the password."""
        self._set(sub, password=self._passwords.hash(password), changed=int(now))

    def suspend(self, sub: str, now: float) -> None:
        """Lets nobody sign in to the account any more."""
        self._set(sub, suspended=int(now))

    def resume(self, sub: str) -> None:
        """Takes a suspension back."""
        self._set(sub, suspended="")

    def raise_generation(self, sub: str) -> None:
        """Marks every earlier sign-in as ended, by a new generation."""
        self._set(sub)

    def _set(self, sub: str, **fields: str | int) -> None:
        flat = [part for field in fields.items() for part in field]
        if self._change(keys=[self._user_key(sub)], args=[1, *flat]) is None:
            raise AccountError("The account is gone.")

    # --- keys

    def _fields(self, sub: str) -> Mapping[str, str]:
        return cast("Mapping[str, str]", self._redis.hgetall(self._user_key(sub)))

    def _sub_of(self, address: str) -> str | None:
        return cast("str | None", self._redis.get(self._address_key(address)))

    def _user_key(self, sub: str) -> str:
        return f"{self._prefix}:user:{sub}"

    def _address_key(self, address: str) -> str:
        return f"{self._prefix}:email:{address}"


def _account(sub: str, fields: Mapping[str, Any]) -> Account:
    numbers = {name: read_number(fields.get(name) or "0") for name in _NUMBERS}
    created, suspended, generation = (number or 0 for number in numbers.values())
    unusable = tuple(name for name in ("email", "name") if name not in fields)
    unusable += tuple(name for name, number in numbers.items() if number is None)
    if unusable:
        suspended = suspended or int(time.time())
        _log.warning("account_unusable", sub=sub, fields=unusable)
    return Account(
        sub,
        fields.get("email", ""),
        fields.get("name", ""),
        tuple(fields.get("roles", "").split()),
        fields.get("tenant", ""),
        created,
        suspended if suspended or fields.get("suspended") else None,
        generation,
        unusable,
    )


def normal_address(text: str) -> str | None:
    """Returns the one spelling of an email address for its key; None for a text that cannot be an address.

    Upper and lower case count as the same, before the @ as well: two people who differ in that alone would
    be one another's trap.
    """
    address = unicodedata.normalize("NFKC", text.strip()).lower()
    local_part, _, domain = address.rpartition("@")
    readable = address.isprintable() and not any(character.isspace() for character in address)
    sized = 0 < len(local_part) <= MAX_LOCAL_PART and len(address) <= MAX_ADDRESS
    return address if readable and sized and domain and "@" not in local_part else None
