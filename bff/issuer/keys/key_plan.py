"""The life of a signing key, decided without I/O or clock: published, then signing, then kept, then gone.

Rule 1: a key is published for a lead time before it signs, so that every verifier has it by then.
Rule 2: a key stays published until the last token that it can have signed has ended.
Rule 3: of the keys that may sign, the one with the latest `signs_from` does: the clock makes all agree.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum

HINTS_READ = 7 * 86400.0
"""Seconds for which ID tokens of a retired key can still be read as hints: the longest life of a family."""


class Phase(Enum):
    """The stage of a key's life."""

    WAITING = "waiting"
    SIGNING = "signing"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class KeyLife:
    """The times of a key's life, in seconds since 1970; `retires` is None until there is a successor."""

    kid: str
    created: float
    signs_from: float
    retires: float | None = None


class KeyWaitsError(ValueError):
    """A key that does not sign yet exists already; a second one would be a mistake."""


def signer(keys: Collection[KeyLife], now: float) -> KeyLife | None:
    """The key that signs now; before any may sign, the first; None without keys."""
    able = [key for key in keys if key.signs_from <= now and (key.retires is None or now < key.retires)]
    if able:
        return max(able, key=lambda key: (key.signs_from, key.kid))
    coming = [key for key in keys if key.signs_from > now]
    return min(coming, key=lambda key: (key.signs_from, key.kid), default=None)


def published(keys: Collection[KeyLife], now: float) -> list[KeyLife]:
    """The keys of the public set, the oldest first."""
    alive = [key for key in keys if key.retires is None or now < key.retires]
    return sorted(alive, key=lambda key: (key.signs_from, key.kid))


def phase(key: KeyLife, keys: Collection[KeyLife], now: float) -> Phase:
    """The stage of one key among the others."""
    if key.retires is not None and now >= key.retires:
        return Phase.RETIRED
    if signer(keys, now) == key:
        return Phase.SIGNING
    return Phase.WAITING if key.signs_from > now else Phase.RETIRING


def add(keys: Sequence[KeyLife], kid: str, now: float, *, lead: float, overlap: float) -> list[KeyLife]:
    """Adds a successor, and lets the others retire when it has signed for `overlap` seconds.

    Raises KeyWaitsError where one is waiting.
    """
    if any(phase(key, keys, now) is Phase.WAITING for key in keys):
        raise KeyWaitsError("A key waits for its first signature already.")
    new = KeyLife(kid, now, now + lead if keys else now)
    retires = new.signs_from + overlap
    return [*(key if key.retires else replace(key, retires=retires) for key in forget(keys, now)), new]


def replace_leaked(kid: str, now: float) -> list[KeyLife]:
    """Lets a new key sign at once, and forgets all others: their tokens are refused from now on."""
    return [KeyLife(kid, now, now)]


def forget(keys: Sequence[KeyLife], now: float) -> list[KeyLife]:
    """Drops keys that retired so long ago that no token of theirs is read any more."""
    return [key for key in keys if key.retires is None or now < key.retires + HINTS_READ]
