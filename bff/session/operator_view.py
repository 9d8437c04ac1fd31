"""A session as an operator sees it: the readable fields of its record, none of which is a secret.

Nothing here was unsealed, so nothing here is proved: a writer of Redis can change these fields
(`record.py`, Rule 4). Pure.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bff.session.end_reasons import version_in
from bff.session.model import ID_LENGTH
from bff.session.record import DEVICE, claim_field

_FIELDS = (
    "provider", "sub", "sid", "name", "created", "seen", "ends", "version", "ua", "ip", "frontend", DEVICE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One session. Times are seconds since the epoch; None where the field cannot be read.

    Attributes:
        key: its key in Redis, of which logs show the beginning.
        frontend: the name of its frontend, "" for the one without.
        claims: the readable ones, by name.
    """

    key: str
    provider: str
    sub: str
    sid: str | None
    name: str
    created: float | None
    seen: float | None
    ends: float | None
    version: int | None
    user_agent: str
    address: str
    bound: bool = False  # to a device
    frontend: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The name of the session in logs; it opens nothing."""
        return self.key[:ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Selection:
    """The sessions that are meant: those to which everything applies that is given.

    Attributes:
        sub: the user, as the provider names them.
        provider: the provider they signed in at.
        frontend: the frontend they signed in to; "" for the one without a name.
        claim: a readable claim and its value, or `name` and the name; case does not matter.
        begun_before, begun_after: seconds since the epoch.
        idle_for: for how many seconds they have not been used, at least.
    """

    sub: str | None = None
    provider: str | None = None
    frontend: str | None = None
    claim: tuple[str, str] | None = None
    begun_before: float | None = None
    begun_after: float | None = None
    idle_for: float | None = None

    def takes(self, entry: Entry, now: float) -> bool:
        """True if the session is one of those. A time that cannot be read is in no range."""
        if self.sub not in {None, entry.sub} or self.provider not in {None, entry.provider}:
            return False
        if self.frontend not in {None, entry.frontend}:
            return False
        if self.claim is not None and not _says(entry, *self.claim):
            return False
        created = math.nan if entry.created is None else entry.created
        seen = math.nan if entry.seen is None else entry.seen
        return (
            (self.begun_before is None or created < self.begun_before)
            and (self.begun_after is None or created >= self.begun_after)
            and (self.idle_for is None or now - seen >= self.idle_for)
        )


def fields_of(claims: Sequence[str]) -> list[str]:
    """The names of the fields that make an entry with these claims."""
    return [*_FIELDS, *(claim_field(name) for name in claims)]


def read_entry(key: str, values: Sequence[str | None], claims: Sequence[str]) -> Entry | None:
    """An entry of the values of `fields_of`; None if there is no such session."""
    found = dict(zip(_FIELDS, values, strict=False))
    if found["version"] is None:
        return None
    told = zip(claims, values[len(_FIELDS) :], strict=True)
    return Entry(
        key=key,
        provider=found["provider"] or "",
        sub=found["sub"] or "",
        sid=found["sid"] or None,
        name=found["name"] or "",
        created=_moment(found["created"]),
        seen=_moment((found["seen"] or "").partition(".")[0]),
        ends=_moment(found["ends"]),
        version=version_in(found["version"]),
        user_agent=found["ua"] or "",
        address=found["ip"] or "",
        bound=bool(found[DEVICE]),
        frontend=found["frontend"] or "",
        claims={name: value for name, value in told if value},
    )


def _says(entry: Entry, name: str, value: str) -> bool:
    said = entry.claims.get(name) or (entry.name if name == "name" else "")
    return said.casefold() == value.casefold()


def _moment(text: str | None) -> float | None:
    try:
        moment = float(text or "")
    except ValueError:
        return None
    return moment if math.isfinite(moment) else None
