"""A whole request that is plain beyond doubt, taken apart for the fast path.

Rule 1: it says what the request parser's `Head` says of the same bytes, and `head` returns that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bff.policy.fields import Header
from bff.proxy.server.request_parser import Head

_LINE_END = b"\r\n"

Line = tuple[int, bytes, Header]
"""One header line: its kind, the line that goes to a backend with its CRLF (or nothing), the field."""


@dataclass(slots=True, eq=False)
class Place:
    """A host that is served, and the way to its frontend.

    Attributes:
        host: its name.
        fast_path: that of the frontend which has the whole host (`CurrentApp`); None where paths decide.
    """

    host: bytes
    fast_path: Any = None  # a `FastPath` or None


@dataclass(slots=True, init=False, repr=False, eq=False)
class PlainRequest:
    """A whole request that is plain beyond doubt, its body included.

    `LineCache.read` makes it, and sets all of it: a constructor would be a call more.

    Attributes:
        outgoing: the header lines that go to a backend, ready for the wire, one or several in a piece.
        guarded: the fields that the origin check looks at, without `Origin`.
        origin: the value of the one `Origin` field; None without one.
        place: the place of the one Host field.
        raw: the request line and the header lines as they came.
        read_line: tells what one of them means.
        cookie: the value of the one `Cookie` field; None without one.
        addresses: the values of `X-Forwarded-For`.
        request_id, trace: the values of these fields; None without one.
        authorized: it has an `Authorization` field.
        body: the content.
    """

    method: bytes
    path: bytes
    query: bytes
    outgoing: list[bytes]
    guarded: list[Header]
    place: Place
    origin: bytes | None
    cookie: bytes | None
    addresses: tuple[bytes, ...]
    request_id: bytes | None
    trace: bytes | None
    authorized: bool
    body: bytes
    raw: bytes
    read_line: Callable[[bytes], Line]

    def head(self) -> Head:
        """Returns the head as the request parser would; its lines are looked up once more, for few calls."""
        lines = self.raw.split(_LINE_END)[1:-1]
        fields = [self.read_line(line)[2] for line in lines]
        return Head(self.method, self.path, self.query, fields, len(self.body))
