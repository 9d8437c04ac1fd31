"""An answer's head in the form in which the client gets it, each of its lines by a look-up.

Where nothing is to be decided about an answer as a whole, its fields need not be taken apart and put together
again: a line that was seen before leads to the line that is sent in its place, or to none. Pure.

Rule 1: a line fares here exactly as its field does in `HeaderRules.response`; a test holds the two together.
Rule 2: a line that fares differently at another frontend is read each time: the rest is shared by all routes
whose rules are equal.
Rule 3: a shortcut and never a judge: an answer that is not plain is None, and goes the long way. So does a
401, which may be healed, an answer that ends its connection, one that nominates fields, and a stream.
"""

from collections.abc import Callable

from bff.policy.body_length import MAX_LENGTH_DIGITS
from bff.policy.chunked_body import WITHOUT_CONTENT
from bff.policy.fields import Header
from bff.policy.header_rules import HeaderRules
from bff.policy.intern_pool import InternPool
from bff.policy.streaming_responses import is_stream
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

PlainResponse = tuple[int, list[bytes], bytes | memoryview, int]
"""Status, header lines as they are written to the client, content so far, and the bytes of it to come.

Much content is a view of the bytes that came, which are not copied.
"""

_Known = tuple[int, bytes | None, int]
"""A line that was seen before: its kind, the line in its place, and the number that a length's line says."""

_MOST_LINES, _LONGEST = 4096, 1024  # lines kept for a route, then all are forgotten; bytes of one
_OK, _NOT_MODIFIED, _UNAUTHORIZED = 200, 304, 401
_MUCH = 16 * 1024  # bytes: beyond these a view costs less than a copy
# A `Cache-Control` that passes, so that ours is not added; a coding; a stream.
_CACHE, _CODED, _LASTS = -1, -2, -3
_CLEARED = (b"keep-alive", b"")  # values of a backend's `Connection` that change nothing


class ResponseLines:
    """The lines of answers that were seen before, and those that are added; one for all routes alike."""

    __slots__ = ("__weakref__", "known", "tail", "tail_if_cacheable")

    def __init__(self, rules: HeaderRules) -> None:
        self.known: dict[bytes, _Known] = {}
        self.tail = [_written(header) for header in rules.response_tail(cacheable=False)]
        self.tail_if_cacheable = [_written(header) for header in rules.response_tail(cacheable=True)]


class ResponseTemplates:
    """The answers of one route's backend.

    Args:
        rules: the route's.
        nonce: is told the value of each `DPoP-Nonce` (RFC 9449 8.2).
        pool: where routes with equal rules find the same lines.
    """

    __slots__ = ("_lines", "_nonce", "_rules")

    def __init__(
        self,
        rules: HeaderRules,
        nonce: Callable[[bytes], None] | None = None,
        pool: InternPool[ResponseLines] | None = None,
    ) -> None:
        self._rules = rules
        self._nonce = nonce
        key = (rules.answer_key(), nonce is None)
        self._lines = ResponseLines(rules) if pool is None else pool.of(key, lambda: ResponseLines(rules))

    def read(self, data: bytes) -> PlainResponse | None:
        """Returns the answer that begins with these bytes, if its head is complete and plain; else None."""
        end = data.find(END, 0, MOST_PLAIN_HEAD)
        if end < 0:
            return None
        lines = data[:end].split(b"\r\n")
        first = lines.pop(0)
        begin = end + len(END)
        content = data[begin:] if len(data) < _MUCH else memoryview(data)[begin:]
        known = self._lines.known
        fields: list[bytes] = []
        length, coded, lasts, tail = -1, False, False, self._lines.tail
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
                        tail = self._lines.tail_if_cacheable
                    elif kind == _LASTS:
                        lasts = True
                    else:
                        coded = True
        except RefusedError:
            return None
        left = length - len(content)
        if status in WITHOUT_CONTENT:
            # Else its connection has to end.
            bare = (length < 0 and not coded) or (length == 0 and status == _NOT_MODIFIED)
            plain, left = plain and bare and not content, 0
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
        if kind == LENGTH and value.isdigit() and len(value) <= MAX_LENGTH_DIGITS:
            return self._keep(line, LENGTH, _written((name, value)), int(value))
        if kind != PLAIN:
            raise RefusedError("not plain")
        if name == b"dpop-nonce" and self._nonce is not None:
            self._nonce(value)
            return PLAIN, None, 0
        back = self._rules.passed_back((name, value))
        form = None if back is None else _written(back)
        if self._rules.looks_into(name):
            # A cookie is one client's own, and a secret; a redirect is written in terms of one frontend.
            return PLAIN, form, 0
        if form is None:
            return self._keep(line, PLAIN, None)
        if name == b"cache-control":
            kind = _CACHE
        elif name == b"content-encoding":
            kind = _CODED
        elif is_stream([(name, value)]):
            kind = _LASTS
        return self._keep(line, kind, form)

    def _keep(self, line: bytes, kind: int, form: bytes | None, length: int = 0) -> _Known:
        known = kind, form, length
        if len(line) <= _LONGEST:
            lines = self._lines.known
            if len(lines) >= _MOST_LINES:
                lines.clear()
            lines[line] = known
        return known


def _written(field: Header) -> bytes:
    return b"%b: %b\r\n" % field
