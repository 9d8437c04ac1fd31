"""The people who can sign in: address, argon2id hash, name.

Keys: `issuer:user:<sub>` (hash) and `issuer:email:<address>` (string, the sub). Neither has a TTL.

Rule 1: a wrong password and an unknown address give the same answer and cost the same time.
Rule 2: no log line and no error names a password or a hash.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import argon2
import redis
from argon2.exceptions import InvalidHashError, VerificationError

from bff.issuer.settings import PasswordCost, UserSettings

MAX_PASSWORD = 1024  # characters; a longer one is not hashed at all


@dataclass(frozen=True, slots=True)
class Account:
    """Who somebody is, as tokens tell it."""

    sub: str
    email: str
    name: str


class Accounts:
    """The accounts in Redis; calls block."""

    def __init__(self, client: "redis.Redis", prefix: str, cost: PasswordCost) -> None:
        self._redis = client
        self._prefix = prefix
        self._hasher = argon2.PasswordHasher(
            time_cost=cost.time, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    def add_missing(self, users: tuple[UserSettings, ...]) -> None:
        """Makes the accounts whose addresses have none yet."""
        for user in users:
            if self._redis.exists(self._email_key(user.email)):
                continue
            sub = user.sub or secrets.token_hex(16)
            hashed = self._hasher.hash(user.password.get_secret_value())
            # The account before the address that leads to it; the first process to name the address wins.
            self._redis.hset(
                self._user_key(sub),
                mapping={"email": _normal(user.email), "name": user.name, "password": hashed},
            )
            self._redis.set(self._email_key(user.email), sub, nx=True)

    def find(self, sub: str) -> Account | None:
        """Returns the account, or None if there is none (any more)."""
        fields = cast("Mapping[str, str]", self._redis.hgetall(self._user_key(sub)))
        return Account(sub, fields["email"], fields["name"]) if fields else None

    def check(self, email: str, password: str) -> Account | None:
        """Returns whose address and password these are, or None, in the same time for every reason."""
        sub = (
            cast("str | None", self._redis.get(self._email_key(email)))
            if len(email) <= MAX_PASSWORD
            else None
        )
        fields = cast("Mapping[str, str]", self._redis.hgetall(self._user_key(sub or "-")))
        known = sub is not None and "password" in fields and len(password) <= MAX_PASSWORD
        try:
            self._hasher.verify(fields["password"] if known else self._nobody, password[:MAX_PASSWORD])
        except (VerificationError, InvalidHashError):
            return None
        return Account(sub, fields["email"], fields["name"]) if known and sub else None

    def _user_key(self, sub: str) -> str:
        return f"{self._prefix}:user:{sub}"

    def _email_key(self, email: str) -> str:
        return f"{self._prefix}:email:{_normal(email)}"


def _normal(email: str) -> str:
    return email.strip().lower()
