"""One record of `issuer:keys`: the times of a key in JSON, and beside them its private half, sealed for them.

Rule 1: the seal is bound to the issuer, the `kid` and the times: a writer to Redis can change none of them,
and can put back whole records alone.
Rule 2: version 0.1 bound the seal to the issuer and the `kid`. Such a record is read as long as no other one
beside it is bound to its times: each change writes all of them anew, so both kinds are never there at once.
"""

import json
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from joserfc.errors import JoseError

from bff.issuer.keys.key_plan import KeyLife
from bff.issuer.keys.keys import SigningKey
from bff.issuer.store.sealing import Sealer


class KeysUnusableError(Exception):
    """No key to sign with exists; the message gives the operator the reason, and holds no secret."""


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """A key and its life; `has_sealed_times` is False for a record of version 0.1."""

    life: KeyLife
    key: SigningKey
    has_sealed_times: bool


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A record as it was read: its times count only once it has been opened."""

    life: KeyLife
    sealed: str

    @classmethod
    def read(cls, kid: str, text: str) -> "KeyRecord":
        """Reads the JSON of one key; KeysUnusableError for any other text."""
        found = None
        with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            record = json.loads(text)
            sealed, life = record.pop("private"), KeyLife(kid=kid, **record)
            times = [life.created, life.signs_from, *([] if life.retires is None else [life.retires])]
            if isinstance(sealed, str) and all(map(_is_time, times)):
                found = cls(life, sealed)
        if found is None:
            raise KeysUnusableError(f"the record of the signing key {kid} cannot be read: it was changed")
        return found

    def open(self, sealer: Sealer, issuer: str) -> OpenedKey | None:
        """Opens the private half; None for a changed record, another issuer's, or another server key's."""
        for has_sealed_times, binding in ((True, _binding), (False, _former_binding)):
            plaintext = sealer.open(self.sealed, binding(self.life, issuer))
            if plaintext is not None:
                return OpenedKey(self.life, _parsed(self.life.kid, plaintext), has_sealed_times)
        return None


def write(life: KeyLife, key: SigningKey, sealer: Sealer, issuer: str) -> str:
    """Returns the record of a key, sealed under the newest server key."""
    sealed = sealer.seal(json.dumps(key.document()), _binding(life, issuer))
    return json.dumps({**_times(life), "private": sealed})


def refuse_mixed(keys: Iterable[OpenedKey], *, sealed_before: bool) -> None:
    """Raises KeysUnusableError for a record of version 0.1 beside, or after, one with sealed times."""
    found = list(keys)
    if not sealed_before and not any(one.has_sealed_times for one in found):
        return
    for one in found:
        if not one.has_sealed_times:
            raise KeysUnusableError(
                f"the signing key {one.life.kid} is not sealed for its times, as the others are: it was "
                "changed, or written by version 0.1"
            )


def _times(life: KeyLife) -> dict[str, float | None]:
    return {name: value for name, value in asdict(life).items() if name != "kid"}


def _binding(life: KeyLife, issuer: str) -> bytes:
    # The first word keeps both forms apart: an identifier is a URL, so that no former binding begins so.
    return "\n".join(["times", issuer, life.kid, json.dumps(_times(life), sort_keys=True)]).encode()


def _former_binding(life: KeyLife, issuer: str) -> bytes:
    return f"{issuer}\n{life.kid}".encode()


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _parsed(kid: str, plaintext: str) -> SigningKey:
    try:
        key = SigningKey.read(json.loads(plaintext))
    except (JoseError, ValueError, TypeError) as error:
        raise KeysUnusableError(f"the signing key {kid} cannot be read") from error
    if key.kid != kid:
        raise KeysUnusableError(f"the signing key {kid} is another one, {key.kid}: it was changed")
    return key
