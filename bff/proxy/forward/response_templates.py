"""An answer's head in the form in which the client gets it, each of its lines by a look-up.

Where nothing is to be decided about an answer as a whole, its fields need not be taken apart and put together
again: a line that was seen before leads to the line that is sent in its place, or to none. Pure.

Rule 1: a line fares here exactly as its field does in `HeaderRules.response`; a test holds the two together.
Rule 2: a shortcut and never a judge: an answer that is not plain is None, and goes the long way. So does a
401, which may be healed, an answer that ends its connection, one that nominates fields, and a stream.
"""

from collections.abc import Callable

from bff.policy.body_framing import WITHOUT_CONTENT
from bff.policy.fields import Header
from bff.policy.headers import HeaderRules
from bff.policy.streams import is_stream
from bff.upstream.response_parser import (
    CONNECTION,
    END,
    LENGTH,
    MOST_PLAIN_FIELDS,
    MOST_PLAIN_HEAD,
    PLAIN,
    RefusedError,
    known_statuses,
    read_field,
    read_status,
)

PlainResponse = tuple[int, list[bytes], bytes, int]
"""Status, header lines as they are written to the client, content so far, and the bytes of it to come."""

_Known = tuple[int, bytes | None, int]
"""A line that was seen before: its kind, the line in its place, and the number that a length's line says."""

_MOST_LINES, _LONGEST = 4096, 1024  # lines kept for a route, then all are forgotten; bytes of one
_OK, _UNAUTHORIZED = 200, 401
_MOST_DIGITS = 15  # of a length: a pebibyte
# A `Cache-Control` that passes, so that ours is not added; a coding; a stream.
_CACHE, _CODED, _LASTS = -1, -2, -3
_CLEARED = (b"keep-alive", b"")  # values of a backend's `Connection` that change nothing


class ResponseTemplates:
    """The answers of one route's backend; `nonce` is told the value of each `DPoP-Nonce` (RFC 9449 8.2)."""

    def __init__(self, rules: HeaderRules, nonce: Callable[[bytes], None] | None = None) -> None:
        self._rules = rules
        self._nonce = nonce
        self._lines: dict[bytes, _Known] = {}
        self._tail = [_written(header) for header in rules.response_tail(cacheable=False)]
        self._tail_if_cacheable = [_written(header) for header in rules.response_tail(cacheable=True)]

    def read(self, data: bytes) -> PlainResponse | None:
        """Returns the answer that begins with these bytes, if its head is complete and plain; else None."""
        end = data.find(END, 0, MOST_PLAIN_HEAD)
        if end < 0:
            return None
        lines = data[:end].split(b"\r\n")
        first = lines.pop(0)
        content = data[end + len(END) :]
        known = self._lines
        fields: list[bytes] = []
        length, coded, lasts, tail = -1, False, False, self._tail
        try:
            status, plain = known_statuses.get(first) or read_status(first)
            for line in lines:
                kind, form, number = known.get(line) or self._judge(line)
                if form is not None:
                    fields.append(form)
                if kind:
                    if kind == LENGTH:
                        plain = plain and length < 0
                        length = number
                    elif kind == _CACHE:
                        tail = self._tail_if_cacheable
                    elif kind == _LASTS:
                        lasts = True
                    else:
                        coded = True
        except RefusedError:
            return None
        left = length - len(content)
        if status in WITHOUT_CONTENT:
            plain, left = plain and not (length >= 0 or coded or content), 0  # else its connection has to end
        else:
            plain = plain and length >= 0 and (left == 0 or (left > 0 and not lasts))
        if not plain or status < _OK or status == _UNAUTHORIZED or len(lines) > MOST_PLAIN_FIELDS:
            return None
        fields += tail
        return status, fields, content, left

    def _judge(self, line: bytes) -> _Known:
        kind, (name, value) = read_field(line)
        if kind == CONNECTION and value.lower() in _CLEARED:
            return self._keep(line, PLAIN, None)
        if kind == LENGTH and value.isdigit() and len(value) <= _MOST_DIGITS:
            return self._keep(line, LENGTH, _written((name, value)), int(value))
        if kind != PLAIN:
            raise RefusedError("not plain")
        if name == b"dpop-nonce" and self._nonce is not None:
            self._nonce(value)
            return PLAIN, None, 0
        back = self._rules.passed_back((name, value))
        if back is None:
            return self._keep(line, PLAIN, None)
        form = _written(back)
        if name == b"cache-control":
            kind = _CACHE
        elif name == b"content-encoding":
            kind = _CODED
        elif is_stream([(name, value)]):
            kind = _LASTS
        # A cookie is one client's own, and a secret.
        return (kind, form, 0) if name == b"set-cookie" else self._keep(line, kind, form)

    def _keep(self, line: bytes, kind: int, form: bytes | None, length: int = 0) -> _Known:
        known = kind, form, length
        if len(line) <= _LONGEST:
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            self._lines[line] = known
        return known


def _written(field: Header) -> bytes:
    return b"%b: %b\r\n" % field
