"""A whole answer in the form in which the client gets it: what becomes of each line is worked out once.

Where nothing is to be decided about an answer as a whole, its fields need not be taken apart and put together
again: a line that was seen before is looked up, and leads to what is sent in its place, or to nothing. Pure.

Rule 1: a line fares here exactly as its field does in `HeaderRules.response`; a test holds the two together.
Rule 2: like `whole_answer`, a shortcut and never a judge: what is not plain is None, and goes the long way.
So does a 401, which may be healed, an answer that ends its connection, and one that nominates fields.
"""

from bff.policy.headers import HeaderRules
from bff.proxy.upstream.interfaces import Header
from bff.proxy.upstream.whole_response import (
    DOUBTFUL,
    END,
    LENGTH,
    MOST_FIELDS,
    MOST_HEAD,
    PLAIN,
    WITHOUT_CONTENT,
    judge_field,
    judge_status,
)

WholeResponse = tuple[int, list[bytes], bytes]
"""Status, header lines as they are written to the client, and content of an answer."""

_MOST_LINES = 4096  # kept for a route; then all are forgotten
_LONGEST = 1024  # bytes of a line that is kept
_UNAUTHORIZED = 401
_CACHE = -1  # a `Cache-Control` that passes: ours is then not added
_CLEARED = (b"keep-alive", b"")  # what a backend may say in `Connection`


class ResponseTemplates:
    """The answers of one route's backend."""

    def __init__(self, rules: HeaderRules) -> None:
        self._rules = rules
        self._statuses: dict[bytes, int] = {}
        self._lines: dict[bytes, tuple[int, bytes | None]] = {}
        self._tail = [_written(header) for header in rules.response_tail(cacheable=False)]
        self._tail_if_cacheable = [_written(header) for header in rules.response_tail(cacheable=True)]

    def read(self, data: bytes) -> WholeResponse | None:
        """Status, fields and content of the answer, if it is all there and plain; else None."""
        end = data.find(END, 0, MOST_HEAD)
        if end < 0:
            return None
        lines = data[:end].split(b"\r\n")
        status = self._statuses.get(lines[0]) or self._judge_status(lines[0])
        if not status or len(lines) > MOST_FIELDS:
            return None
        known = self._lines
        fields: list[bytes] = []
        length = -1
        tail = self._tail
        del lines[0]
        for line in lines:
            kind, form = known.get(line) or self._judge_line(line)
            if form is not None:
                fields.append(form)
            if kind:
                if kind == _CACHE:
                    tail = self._tail_if_cacheable
                elif kind == DOUBTFUL or length >= 0:
                    return None
                else:
                    length = int(line[line.index(b":") + 1 :])
        start = end + len(END)
        if len(data) - start != length:
            return None
        fields += tail
        return status, fields, data[start:]

    def _judge_status(self, line: bytes) -> int:
        """The status; 0 where the answer is not plain."""
        judged = judge_status(line)
        if judged is None or judged[0] == _UNAUTHORIZED or judged[0] in WITHOUT_CONTENT:
            return 0
        if len(self._statuses) < _MOST_LINES and len(line) <= _LONGEST:
            self._statuses[line] = judged[0]
        return judged[0]

    def _judge_line(self, line: bytes) -> tuple[int, bytes | None]:
        judged = judge_field(line)
        if judged is None:
            return DOUBTFUL, None
        kind, (name, value) = judged
        if name == b"connection":
            return self._keep(line, PLAIN if value.lower() in _CLEARED else DOUBTFUL, None)
        if kind == LENGTH:
            return self._keep(line, LENGTH, _written((name, value)))
        if kind != PLAIN:
            return DOUBTFUL, None
        back = self._rules.passed_back((name, value))
        if back is None:
            return self._keep(line, PLAIN, None)
        form = _written(back)
        if name == b"cache-control":
            kind = _CACHE
        # A cookie is one client's own, and a secret.
        return (kind, form) if name == b"set-cookie" else self._keep(line, kind, form)

    def _keep(self, line: bytes, kind: int, form: bytes | None) -> tuple[int, bytes | None]:
        if len(line) <= _LONGEST:
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            self._lines[line] = (kind, form)
        return kind, form


def _written(field: Header) -> bytes:
    return b"%b: %b\r\n" % field
