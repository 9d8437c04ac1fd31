"""The header lines that a reverse proxy adds behind `X-Forwarded-For`, read by one match. Pure.

They have the same names in the same order in each request, and values that differ: one by one they would cost
most of what a request through a proxy costs more than another. No value is kept.
"""

import re
from collections.abc import Callable, Mapping

MOST = 8
"""The number of lines that are read together."""

_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"


class ProxyLines:
    """The lines that a reverse proxy adds.

    Args:
        lines: the beginning of the line that goes to a backend, if any, by the name as it is spelt.
        request_id, trace: the names of the lines with these values, if any.

    Attributes:
        match: finds the lines at the beginning of these bytes; None where others stand there.
        passing: the beginning and the group of each line that goes to a backend.
        request_id, trace: the groups of these values; 0 for none.
        count: the number of lines.
    """

    __slots__ = ("count", "match", "passing", "request_id", "trace")

    def __init__(self, lines: Mapping[bytes, bytes], request_id: bytes = b"", trace: bytes = b"") -> None:
        told = [name for name, beginning in lines.items() if beginning or name in {request_id, trace}]
        group = {name: number for number, name in enumerate(told, 1)}
        values = [b"(%b)" % _VALUE if name in group else _VALUE for name in lines]
        pattern = b"".join(map(b"%b:%b\r\n".__mod__, zip(map(re.escape, lines), values, strict=True)))
        self.match: Callable[[bytes], re.Match[bytes] | None] = re.compile(pattern or b"(?!)").match
        self.passing = [(beginning, group[name]) for name, beginning in lines.items() if beginning]
        self.request_id, self.trace = group.get(request_id, 0), group.get(trace, 0)
        self.count = len(lines)
