"""A whole answer that came in one read and is plain beyond doubt: read without the parser.

Most answers of an API are: a status line, well-formed fields, one Content-Length, and exactly that much
content. Lines repeat from answer to answer, so that each is judged once. Pure.

Rule 1: this is a shortcut, never a judge: whatever is not plain is None, and goes to the parser.
Rule 2: what it reads, the parser would read alike; a test feeds both.
"""

import re
from typing import NamedTuple

from bff.proxy.sinks import Header

_MOST_LINES = 4096  # kept; then all are forgotten
_MOST_FIELDS = 100
_MOST_HEAD = 16 * 1024
_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ([\x20-\x7e]*)")
_FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?[ \t]*"
)
_DIGITS = re.compile(rb"[0-9]{1,15}")
_WITHOUT_CONTENT = frozenset({204, 304})

_PLAIN, _LENGTH, _CLOSE, _DOUBTFUL = range(4)


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
    end = data.find(_END, 0, _MOST_HEAD)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    status = _statuses.get(first) or _judge_status(first)
    if status is None or len(lines) > _MOST_FIELDS:
        return None
    headers: list[Header] = []
    length: bytes | None = None
    closes = False
    for line in lines:
        field = _fields.get(line) or _judge_field(line)
        if field is None:
            return None
        kind, header = field
        headers.append(header)
        if kind:
            if kind == _CLOSE:
                closes = True
            elif kind == _DOUBTFUL or length is not None:
                return None
            else:
                length = header[1]
    start = end + len(_END)
    if length is None or len(data) - start != int(length):
        return None
    return Whole(status[0], status[1], headers, data[start:], closes)


def _judge_status(line: bytes) -> tuple[int, bytes] | None:
    found = _STATUS.fullmatch(line)
    status = None if found is None else (int(found[1]), found[2])
    if status is not None and status[0] in _WITHOUT_CONTENT:
        status = None
    if len(_statuses) < _MOST_LINES:
        _statuses[line] = status
    return status


def _judge_field(line: bytes) -> tuple[int, Header] | None:
    found = _FIELD.fullmatch(line)
    if found is None:
        return None
    name, value = found[1].lower(), found[2] or b""
    kind = _PLAIN
    if name == b"content-length":
        kind = _LENGTH if _DIGITS.fullmatch(value) else _DOUBTFUL
    elif name == b"transfer-encoding":
        kind = _DOUBTFUL
    elif name == b"connection":
        kind = _CLOSE if b"close" in value.lower() else _PLAIN
    if len(_fields) >= _MOST_LINES:
        _fields.clear()
    field = _fields[line] = (kind, (name, value))
    return field
