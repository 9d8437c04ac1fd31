"""A cache of header lines: each line that clients repeat is read and judged once.

Heads differ from call to call (path, cookie, addresses, ids); most of their lines do not. `LineCache.read`
takes a whole request apart by looking its lines up.

Rule 1: a line that could name somebody is never kept. Only fields of the names in `_KEPT` are, so a field
that an application has invented is read anew each time.
Rule 2: a shortcut and never a judge. A request that is anything but plain beyond doubt is None, and goes to
the request parser, which refuses it or takes it.
Rule 3: a line is known by all of its bytes, without those that end it.
"""

from collections.abc import Callable
from typing import Final

from bff.allowed_bytes import allowing
from bff.policy.fields import Header
from bff.policy.request_limits import RequestLimits
from bff.proxy.server.request_framing import MAX_LENGTH_DIGITS
from bff.proxy.server.request_parser import Head

PLAIN, HOST, COOKIE, GUARD, LENGTH, ADDRESS, REQUEST_ID, TRACE, OTHER = range(9)
"""The kinds of lines, by their meaning for a call.

PLAIN goes on to a backend, or does not; the origin check looks at GUARD; OTHER is for the parser."""

_CONNECTION = 9  # PLAIN or OTHER, by its value
_MOST_LINES = 4096  # in each of the two generations
_MOST_NAMES, _LONGEST_NAME = 256, 32  # names of fields that are kept, and their length in bytes
_LONGEST = 512  # bytes of a line that is kept
_END = b"\r\n\r\n"
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # RFC 9110 5.6.2
_METHODS = frozenset({b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"})
_VALUE = allowing({0x09, *range(0x20, 0x7F), *range(0x80, 0x100)})
_TARGET = allowing({*range(0x21, 0x7F)} - {ord("#")})

_KEPT: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"content-type",
        b"dnt",
        b"host",
        b"origin",
        b"pragma",
        b"priority",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-gpc",
        b"te",
        b"user-agent",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
    }
)
"""Fields with values that many people share. `Referer` and validators are no such fields: they name pages."""

_SINGLE = {
    b"host": HOST,
    b"connection": _CONNECTION,
    b"content-length": LENGTH,
    b"cookie": COOKIE,
    b"x-forwarded-for": ADDRESS,
    b"x-request-id": REQUEST_ID,
    b"traceparent": TRACE,
    b"tracestate": OTHER,  # belongs to its traceparent: the whole forwarder sees to both
    b"transfer-encoding": OTHER,
    b"expect": OTHER,
    b"upgrade": OTHER,
    b"http2-settings": OTHER,
    b"access-control-request-method": OTHER,  # a preflight
}


Line = tuple[int, bytes, Header]
"""One header line: its kind, the line that goes to a backend with its CRLF (or nothing), the field."""

_DOUBTFUL: Line = OTHER, b"", (b"", b"")


class PlainRequest:
    """A whole request that is plain beyond doubt, its body included.

    Attributes:
        outgoing: the header lines that go to a backend, ready for the wire; empty in place of the others.
        guarded: the fields that the origin check looks at.
        host: the value of the one Host field.
        raw: the lines as they came.
        read_line: tells what one of them means.
        cookie: the value of the one `Cookie` field; None without one.
        addresses: the values of `X-Forwarded-For`.
        request_id, trace: the values of these fields; None without one.
        body: the content.
    """

    method: bytes
    path: bytes
    query = b""
    outgoing: list[bytes]
    guarded: list[Header]
    host: bytes
    cookie: bytes | None = None
    addresses: tuple[bytes, ...] = ()
    request_id: bytes | None = None
    trace: bytes | None = None
    body = b""
    raw: list[bytes]
    read_line: Callable[[bytes], Line]

    def lines(self) -> list[Line]:
        """Returns all of its header lines, in their order, looked up once more: few calls ask for them."""
        return [self.read_line(raw) for raw in self.raw]

    def head(self) -> Head:
        """Returns the head as the request parser would."""
        return Head(self.method, self.path, self.query, self.fields(), len(self.body))

    def fields(self) -> list[Header]:
        """Returns all of its fields, in their order."""
        return [field for _, _, field in self.lines()]


class LineCache:
    """The lines of all connections of a process.

    Args:
        limits: those of the request parser; a head beyond them is not plain.
        csrf_header: the name of the CSRF header, in lower case.
        passes: whether a field of this name may go to a backend.
    """

    def __init__(self, *, limits: RequestLimits, csrf_header: bytes, passes: Callable[[bytes], bool]) -> None:
        self.limits = limits
        self._csrf_header = csrf_header
        self._hosts = limits.hosts.names
        self._guarded = frozenset({csrf_header, b"sec-fetch-site", b"origin"})
        self._kept = _KEPT | {csrf_header}
        self._passes = passes
        self._read_line = self.line
        self._max_bytes = limits.max_head_bytes
        self._max_fields = limits.max_head_fields
        self._max_path = limits.max_path_bytes
        self._young: dict[bytes, Line] = {}
        self._old: dict[bytes, Line] = {}
        self._names: dict[bytes, tuple[int, bytes, bool, bool]] = {}  # as they are spelt

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def is_for(self, limits: RequestLimits, csrf_header: bytes) -> bool:
        """Returns True if other settings with these leave all lines as they are."""
        return (limits, csrf_header) == (self.limits, self._csrf_header)

    def read(self, data: bytes) -> PlainRequest | None:  # noqa: C901, PLR0912 - one pass, one branch a kind
        """Returns the request that these bytes are, if they are one and no more; None to ask the parser."""
        if data[-4:] == _END and len(data) <= self._max_bytes:
            end = len(data) - len(_END)  # behind an earlier end a line would be empty, and doubtful
        else:
            end = data.find(_END, 0, self._max_bytes)
        if end < 0:
            return None
        lines = data[:end].split(b"\r\n")
        words = lines[0].split(b" ")
        if len(words) != 3 or words[0] not in _METHODS or words[2] != b"HTTP/1.1":  # noqa: PLR2004 - RFC 9112 3
            return None
        method, target, _ = words
        if target[:1] != b"/" or target.translate(_TARGET) != target or len(lines) > self._max_fields:
            return None
        del lines[0]
        request = PlainRequest()
        request.method, request.raw, request.read_line = method, lines, self._read_line
        request.path, _, request.query = target.partition(b"?")
        young = self._young
        request.outgoing = outgoing = []
        request.guarded = guarded = []
        host, length = None, None
        for raw in lines:
            kind, line, field = young.get(raw) or self._learn(raw)
            outgoing.append(line)
            if kind == PLAIN:
                pass
            elif kind == GUARD:
                guarded.append(field)
            elif kind == HOST and host is None:
                request.host = host = field[1]
            elif kind == COOKIE and request.cookie is None:
                request.cookie = field[1]
            elif kind == ADDRESS:
                request.addresses += (field[1],)
            elif kind == REQUEST_ID and request.request_id is None:
                request.request_id = field[1]
            elif kind == TRACE and request.trace is None:
                request.trace = field[1]
            elif kind == LENGTH and length is None:
                length = int(field[1])
            else:
                return None
        body = data[end + len(_END) :]
        if host is None or len(body) != (length or 0) or len(request.path) > self._max_path:
            return None
        request.body = body
        return request

    def line(self, raw: bytes) -> Line:
        """Returns what a header line means."""
        return self._young.get(raw) or self._learn(raw)

    def _learn(self, raw: bytes) -> Line:
        """Reads a line that is not among the young ones, and keeps it where that is allowed."""
        name, colon, value = raw.partition(b":")
        kind, name, passes, kept = self._names.get(name) or self._judge_name(name)
        line = self._old.pop(raw, None) if kept else None
        if line is None:
            value = value.strip(b" \t")
            if not colon or value.translate(_VALUE) != value:
                return _DOUBTFUL
            if kind == HOST:
                kind = HOST if value in self._hosts or value.lower() in self._hosts else OTHER
            elif kind == _CONNECTION:
                kind = PLAIN if value.lower() in {b"keep-alive", b""} else OTHER
            elif kind == LENGTH and not (value.isdigit() and len(value) <= MAX_LENGTH_DIGITS):
                kind = OTHER
            outgoing = name + b": " + value + b"\r\n" if passes else b""
            line = kind, outgoing, (name, value)
        if kept and kind != OTHER and len(raw) <= _LONGEST:
            if len(self._young) >= _MOST_LINES:
                self._old, self._young = self._young, {}
            self._young[raw] = line
        return line

    def _judge_name(self, raw: bytes) -> tuple[int, bytes, bool, bool]:
        """Returns the kind of lines of this name, the name in lower case, if they go on, if they are kept."""
        name = raw.lower()
        kind = _SINGLE.get(name, PLAIN)
        if not name or name.translate(None, _TOKEN):
            kind = OTHER
        elif name in self._guarded:
            kind = GUARD
        passes = kind in {PLAIN, GUARD} and self._passes(name)
        known = kind, name, passes, name in self._kept
        if len(self._names) < _MOST_NAMES and len(name) <= _LONGEST_NAME:
            self._names[raw] = known
        return known
