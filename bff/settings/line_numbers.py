"""The line of a setting in a TOML file. Pure.

A parser that keeps positions would be another dependency; this module finds settings that are written in the
usual way, `[section]` and `key = value`, and returns None for all others.
"""

import re

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*=")


def line_of(text: str, section: str, key: str, index: int = 0) -> int | None:
    """The line, counted from 1, of `key` in the section, or in the `index`-th of a list of sections."""
    current, seen = "", -1
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            current = header[2]
            if current == section:
                seen += 1
                if not key and (header[1] == "[" or seen == index):
                    return number
        elif (found := _KEY.match(line)) and found[1] == (key or section):
            place = (current, seen) if key else current
            if place == ((section, index) if key else ""):
                return number
    return None
