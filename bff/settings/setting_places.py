"""The place of a setting in a file: its table, which may be one of a list, or lie in a frontend's. Pure."""

import re
from typing import Final, NamedTuple

NESTED: Final = ("session", "route", "spa", "limits")
"""The sections that a frontend has of its own."""

Loc = tuple[int | str, ...]

_FRONTEND = re.compile(r"frontend\[\d+\]\.(?=(?:session|spa|limits)\.|route\[)")


class Place(NamedTuple):
    """The place of a value.

    Attributes:
        table: the way to its table, as `("frontend", 0, "route", 1)`.
        section: the section that the table is one of, as `route`.
        rest: the way from there; empty for the table itself.
    """

    table: Loc
    section: str
    rest: Loc

    @property
    def header(self) -> str:
        """The line that begins the table."""
        names = ".".join(str(part) for part in self.table if isinstance(part, str))
        listed = isinstance(self.table[-1], int) or names in {"frontend", "route"}
        return f"[[{names}]]" if listed else f"[{names}]"


def place_of(loc: Loc) -> Place:
    """Returns the place of a value by the names and numbers that lead to it."""
    section, depth = str(loc[0]), 2 if len(loc) > 1 and isinstance(loc[1], int) else 1
    if section == "frontend" and len(loc) > depth + 1 and loc[depth] in NESTED:
        section, depth = str(loc[depth]), depth + 1
        if isinstance(loc[depth], int):
            depth += 1
    return Place(loc[:depth], section, loc[depth:])


def key_of(loc: Loc) -> str:
    """Returns a setting's name, without the names of union members at the end of pydantic's locations."""
    place = place_of(loc)
    kept = [part for depth, part in enumerate(place.rest) if isinstance(part, int) or depth == 0]
    if place.rest[:1] == ("extra_params",):
        kept = list(place.rest)
    text = ""
    for part in (*place.table, *kept):
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def base_of(key: str) -> str:
    """Returns the setting that a key is part of: `server.trusted_proxies` of `server.trusted_proxies[1]`."""
    outer = found[0] if (found := _FRONTEND.match(key)) else ""
    section, _, rest = key[len(outer) :].partition(".")
    name = rest.partition("[")[0].partition(".")[0]
    return outer + (f"{section}.{name}" if name else section)


def owners_of(key: str) -> set[str]:
    """Returns the tables that a setting lies in: `frontend[0]` and `frontend[0].session`."""
    parts = base_of(key).split(".")
    return {".".join(parts[:depth]) for depth in range(1, len(parts))} or {base_of(key)}


def parts_of(key: str) -> tuple[str, str]:
    """Returns section and name of a setting; the name is "" for what lies in a part of a frontend."""
    base = base_of(key)
    section, _, name = base.partition(".")
    return section.partition("[")[0], "" if _FRONTEND.match(key) else name


def index_of(key: str) -> int:
    """Returns the number of the section that a key belongs to, among those of its name."""
    number = key.partition(".")[0].partition("[")[2].rstrip("]")
    return int(number) if number else 0
