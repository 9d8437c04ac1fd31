"""The header lines that a reverse proxy adds to each request, read by one match. Pure.

They have the same names in the same order in each request, and values that differ: one by one they would cost
most of what a request through a proxy costs more than another. No value is kept.

Rule 1: they begin with `Host` where a proxy writes them behind that, and else behind `X-Forwarded-For`.
"""

import re
from collections.abc import Callable, Mapping

from bff.policy.header_line_kinds import ADDRESS, HOST, REQUEST_ID, TRACE

MOST = 8
"""The number of lines that are read together."""

_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"


class ProxyLines:
    """The lines that a reverse proxy adds.

    Args:
        lines: kind (`policy/header_line_kinds.py`), and the beginning of the line that goes to a backend or
            nothing, by the name as it is spelt.

    Attributes:
        match: finds the lines at the beginning of these bytes; None where others stand there.
        passing: the beginning and the group of each line that goes to a backend.
        host, address, request_id, trace: the groups of these values; 0 for none.
        count: the number of lines.
    """

    __slots__ = ("address", "count", "host", "match", "passing", "request_id", "trace")

    def __init__(self, lines: Mapping[bytes, tuple[int, bytes]]) -> None:
        told = [(kind, beginning) for kind, beginning in lines.values() if kind or beginning]
        pattern = b"".join(
            re.escape(name) + (b":(%b)\r\n" if kind or beginning else b":%b\r\n") % _VALUE
            for name, (kind, beginning) in lines.items()
        )
        self.match: Callable[[bytes], re.Match[bytes] | None] = re.compile(pattern or b"(?!)").match
        self.passing = [(beginning, group) for group, (_, beginning) in enumerate(told, 1) if beginning]
        groups = {kind: group for group, (kind, _) in enumerate(told, 1)}
        self.host, self.address = groups.get(HOST, 0), groups.get(ADDRESS, 0)
        self.request_id, self.trace = groups.get(REQUEST_ID, 0), groups.get(TRACE, 0)
        self.count = len(lines)
