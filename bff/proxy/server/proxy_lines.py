"""The header lines that a reverse proxy adds to each request, read by one match. Pure.

They have the same names in the same order in each request, and values that differ: one by one they would cost
most of what a request through a proxy costs more than another. No value is kept.

Rule 1: they begin with `Host` where a proxy writes them behind that, and else behind `X-Forwarded-For`.
Rule 2: a value that is read stands behind one blank, as proxies write it. Others are read one by one.
"""

import re
from collections.abc import Callable, Mapping

from bff.policy.header_line_kinds import ADDRESS, HOST, REQUEST_ID, TRACE

MOST = 8
"""The number of lines that are read together."""

_ANY = rb"[\t\x20-\x7e\x80-\xff]*"
_VALUE = rb"([\x21-\x7e\x80-\xff]" + _ANY + rb"(?<![\t ]))"  # without the blanks that may stand around it


class ProxyLines:
    """The lines that a reverse proxy adds.

    Args:
        lines: kind (`policy/header_line_kinds.py`), and the beginning of the line that goes to a backend or
            nothing, by the name as it is spelt.

    Attributes:
        match: finds the lines at the beginning of these bytes; None where others stand there. Its groups are
            the values that are read.
        passing: the beginning and the group of each line that goes to a backend; the first group is 0.
        host, request_id, trace: the groups of these values; None where there is none.
        address: likewise, where they begin with `Host`.
        count: the number of lines.
    """

    __slots__ = ("address", "count", "host", "match", "passing", "request_id", "trace")

    def __init__(self, lines: Mapping[bytes, tuple[int, bytes]]) -> None:
        told = [(kind, beginning) for kind, beginning in lines.values() if kind or beginning]
        pattern = b"".join(
            b"%b:%b\r\n" % (re.escape(name), b" " + _VALUE if kind or beginning else _ANY)
            for name, (kind, beginning) in lines.items()
        )
        self.match: Callable[[bytes], re.Match[bytes] | None] = re.compile(pattern or b"(?!)").match
        self.passing = [(beginning, group) for group, (_, beginning) in enumerate(told) if beginning]
        groups = {kind: group for group, (kind, _) in enumerate(told)}
        self.host, self.address = groups.get(HOST), groups.get(ADDRESS, 0)
        self.request_id, self.trace = groups.get(REQUEST_ID), groups.get(TRACE)
        self.count = len(lines)
