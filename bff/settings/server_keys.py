"""A server key and its times in `session.keys_file`, and the keys in force at a moment. Pure.

    <43 characters> made=2026-11-28T18:00:00Z signs=2026-11-28T18:10:00Z until=2026-11-29T07:10:00Z

Rule 1: a key without times signs where it stands first, and verifies for as long as it stands there.
Rule 2: the first key that signs already makes everything new; all keys verify, those that do not sign yet,
too: several processes read a key at different moments, and each has to accept the others' signatures.
Rule 3: a key whose `until` has passed does not count, unless no other key would be left.
Rule 4: no message holds a part of a key.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

KEY_BYTES = 32
_MIN_DISTINCT_BYTES = 12  # 32 random bytes have 30 on average; fewer than 12 is a pattern, not chance
_TIMES = ("made", "signs", "until")

SPREAD = 600.0
"""Seconds within which every process has surely read a changed file: so long may a former key still sign."""


@dataclass(frozen=True, slots=True)
class ServerKey:
    """One key; times in seconds since the epoch, None where they are not said."""

    secret: str = field(repr=False)
    made: float | None = None
    signs: float | None = None
    until: float | None = None

    def line(self) -> str:
        """The key as a line of the file."""
        times = ((name, getattr(self, name)) for name in _TIMES)
        said = [f"{name}={_written(moment)}" for name, moment in times if moment is not None]
        return " ".join([self.secret, *said])


def parse_key(text: str) -> ServerKey:
    """Reads a key with its times; raises ValueError with the reason for a bad one."""
    secret, *rest = text.split() or [""]
    if not _is_key(secret):
        raise ValueError("is not 32 random bytes in base64url")
    times: dict[str, float] = {}
    for part in rest:
        name, _, value = part.partition("=")
        if name not in _TIMES or name in times:
            raise ValueError("has something behind it that is not made=, signs= or until=, each once")
        times[name] = _read(name, value)
    return ServerKey(secret.rstrip("="), **times)


def in_force(keys: Sequence[ServerKey], now: float) -> tuple[ServerKey, ...]:
    """Returns the keys in force: first the one that signs, then those that only verify (Rules 2 and 3)."""
    counting = [key for key in keys if key.until is None or key.until > now] or list(keys[:1])
    signing = next((key for key in counting if key.signs is None or key.signs <= now), counting[-1])
    return (signing, *(key for key in counting if key is not signing))


def rotated(
    keys: Sequence[ServerKey], new: str, now: float, *, lead: float, longest: float
) -> tuple[ServerKey, ...]:
    """The keys with a new one in front, each former one with the moment by which its last session is over.

    Args:
        keys: those there are; the ones whose time has passed are left out.
        new: the new key's secret.
        now: seconds since the epoch.
        lead: seconds until the new key signs; until then it only verifies.
        longest: the longest life of anything that is signed, in seconds.
    """
    over = now + lead + SPREAD + longest
    first = ServerKey(new, made=now, signs=now + lead if lead else None)
    former = [key if key.until is not None else replace(key, until=over) for key in keys]
    return (first, *(key for key in former if key.until is None or key.until > now))


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(name: str, value: str) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"has a {name}= that is no time like 2026-11-28T18:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_key(text: str) -> bool:
    """Return True if it has the form that `bff keys generate` prints, with or without the `=` at its end."""
    bare = text.removesuffix("=")
    try:
        raw = base64.b64decode(bare + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    exact = base64.urlsafe_b64encode(raw).rstrip(b"=") == bare.encode()
    return exact and len(raw) == KEY_BYTES and len(set(raw)) >= _MIN_DISTINCT_BYTES
