"""Passwords: their rules, and their hashes (argon2id, RFC 9106).

Rule 1: a password is compared and hashed in its NFKC form, so that it works from every keyboard
(NIST SP 800-63B, 3.1.1.2).
Rule 2: a check costs the same with a stored hash and without one.
Rule 3: no error and no log line names a password or a hash.
"""

import secrets
import unicodedata

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from bff.issuer.settings import PasswordCost

MIN_CHARACTERS = 8
MAX_BYTES = 1024  # as UTF-8; a longer text is no password, and is not hashed


class PasswordRefusedError(ValueError):
    """A password that is too weak; the message gives the reason, and may be shown to the user."""


class Passwords:
    """Hashes and verifies. It blocks, takes `memory_kib` of memory each time, and is safe between threads."""

    def __init__(self, cost: PasswordCost) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=cost.time, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._nobodys = self._hasher.hash(secrets.token_urlsafe(16))

    def hash(self, password: str) -> str:
        """Returns the hash that is stored in place of a password, with parameters and salt."""
        return self._hasher.hash(_form(password) or "")

    def verify(self, stored: str | None, password: str) -> bool:
        """Return True if a password matches the stored hash; without a hash False, at the same cost."""
        form = _form(password)
        try:
            self._hasher.verify(stored if stored and form else self._nobodys, form or "")
        except (VerificationError, InvalidHashError):
            return False
        return bool(stored and form)

    def is_outdated(self, stored: str) -> bool:
        """Return True if the parameters have changed since this hash was stored."""
        return self._hasher.check_needs_rehash(stored)


def check_new(password: str, *names: str) -> None:
    """Raises PasswordRefusedError for a password that is too short, too long, or one of the owner's names.

    There are no rules about kinds of characters, on purpose (NIST SP 800-63B, 3.1.1.2).
    """
    form = _form(password)
    if form is None and password:
        raise PasswordRefusedError(f"The password must be a text of at most {MAX_BYTES} bytes.")
    if form is None or len(form) < MIN_CHARACTERS:
        raise PasswordRefusedError(f"The password must have at least {MIN_CHARACTERS} characters.")
    if len(set(form)) == 1:
        raise PasswordRefusedError("The password must have more than one character, repeated.")
    if form.casefold() in {name.casefold() for name in names}:
        raise PasswordRefusedError("The password must not be the name or the address.")


def _form(password: str) -> str | None:
    """The form that is hashed; None for one that is empty, no text, or too long (NFKC can make it so)."""
    if len(password) > MAX_BYTES:
        return None
    form = unicodedata.normalize("NFKC", password)
    try:
        return form if 0 < len(form.encode()) <= MAX_BYTES else None
    except UnicodeEncodeError:
        return None
