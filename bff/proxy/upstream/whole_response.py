"""A whole answer that came in one read and is plain beyond doubt: read without the parser.

Most answers of an API are: a status line, well-formed fields, one Content-Length, and exactly that much
content; or a 204 or 304 without any of it. Lines repeat from answer to answer, so that each is judged
once. Pure.

Rule 1: this is a shortcut, never a judge: whatever is not plain is None, and goes to the parser.
Rule 2: what it reads, the parser would read alike; a test feeds both.
"""

import re
from typing import NamedTuple

from bff.proxy.upstream.interfaces import Header

_MOST_LINES = 4096  # kept; then all are forgotten
_LONGEST_LINE = 1024  # bytes; longer ones are judged each time
MOST_FIELDS = 100
MOST_HEAD = 16 * 1024
END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ([\x20-\x7e]*)")
_FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?[ \t]*"
)
_DIGITS = re.compile(rb"[0-9]{1,15}")
WITHOUT_CONTENT = frozenset({204, 304})

PLAIN, LENGTH, CLOSE, DOUBTFUL = range(4)
"""What a field says of the framing; doubtful ones are the parser's to judge."""


class Whole(NamedTuple):
    """An answer. `closes` says that the backend will take no other request on its connection."""

    status: int
    reason: bytes
    headers: list[Header]
    content: bytes
    closes: bool


_statuses: dict[bytes, tuple[int, bytes] | None] = {}
_fields: dict[bytes, tuple[int, Header] | None] = {}


def read_whole(data: bytes) -> Whole | None:
    """The answer, if it is all there and plain; None to ask the parser."""
    end = data.find(END, 0, MOST_HEAD)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    status = _statuses.get(first) or judge_status(first)
    if status is None or len(lines) > MOST_FIELDS:
        return None
    headers: list[Header] = []
    length: bytes | None = None
    closes = False
    for line in lines:
        field = _fields.get(line) or judge_field(line)
        if field is None:
            return None
        kind, header = field
        headers.append(header)
        if kind:
            if kind == CLOSE:
                closes = True
            elif kind == DOUBTFUL or length is not None:
                return None
            else:
                length = header[1]
    start = end + len(END)
    rest = len(data) - start
    if status[0] in WITHOUT_CONTENT:
        plain = length is None and not rest and all(name != b"content-encoding" for name, _ in headers)
    else:
        plain = length is not None and rest == int(length)
    return Whole(status[0], status[1], headers, data[start:], closes) if plain else None


def judge_status(line: bytes) -> tuple[int, bytes] | None:
    """Status and reason of a status line that is plain; else None."""
    found = _STATUS.fullmatch(line)
    status = None if found is None else (int(found[1]), found[2])
    if len(_statuses) < _MOST_LINES and len(line) <= _LONGEST_LINE:
        _statuses[line] = status
    return status


def judge_field(line: bytes) -> tuple[int, Header] | None:
    """What a field line says of the framing, and the field; None where it is not plain."""
    found = _FIELD.fullmatch(line)
    if found is None:
        return None
    name, value = found[1].lower(), found[2] or b""
    kind = PLAIN
    if name == b"content-length":
        kind = LENGTH if _DIGITS.fullmatch(value) else DOUBTFUL
    elif name == b"transfer-encoding":
        kind = DOUBTFUL
    elif name == b"connection":
        kind = CLOSE if b"close" in value.lower() else PLAIN
    field = (kind, (name, value))
    if len(line) <= _LONGEST_LINE:
        if len(_fields) >= _MOST_LINES:
            _fields.clear()
        _fields[line] = field
    return field
