"""The line of a setting in a TOML file. Pure.

A parser that keeps positions would be another dependency; this module finds settings that are written in the
usual way, `[section]` and `key = value`, and returns None for all others.
"""

import re
from collections import Counter

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*=")


class Lines:
    """The lines of a file's settings, found in one pass: a file may have thousands of mistakes."""

    def __init__(self, text: str = "") -> None:
        self._sections: dict[tuple[str, int], int] = {}
        self._tables: dict[str, int] = {}  # of one pair of brackets
        self._keys: dict[tuple[str, int, str], int] = {}
        current, seen = "", Counter[str]()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.fullmatch(line):
                current = header[2]
                self._sections[current, seen[current]] = number
                seen[current] += 1
                if header[1] == "[":
                    self._tables.setdefault(current, number)
            elif found := _KEY.match(line):
                self._keys.setdefault((current, seen[current] - 1, found[1]), number)

    def of(self, section: str, key: str, index: int = 0) -> int | None:
        """Returns the line of a key, or without one of its section, the `index`-th of a list."""
        if key:
            return self._keys.get((section, index, key))
        places = (
            self._tables.get(section),
            self._sections.get((section, index)),
            self._keys.get(("", -1, section)),
        )
        return min((place for place in places if place is not None), default=None)


def line_of(text: str, section: str, key: str, index: int = 0) -> int | None:
    """Returns one line, as `Lines` finds it."""
    return Lines(text).of(section, key, index)
