"""What a request must look like to be let in: heads and framing, judged by their bytes. Pure.

Rule 1: a verdict depends on the bytes alone, never on the pieces in which they arrived: a head is judged
when it is complete, and its limits and line ends at the same byte in any case.
Rule 2: what two servers could frame differently is refused, never repaired (RFC 9112 11.2): bare LF, folded
lines, doubled or malformed lengths, length and coding together, any coding but a single `chunked`.
Rule 3: after a refusal nothing more of the connection is read as HTTP.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bff.errors import Problem
from bff.policy.origin import Header, PublicOrigin
from bff.settings.model import ServerSettings

_END = b"\r\n\r\n"
_HEAD_BYTES = bytes([*b"\t\r\n", *range(0x20, 0x7F), *range(0x80, 0x100)])
_LINE_BYTES = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)", re.IGNORECASE)
_UPGRADES = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_OFFERS = re.compile(rb"\r\n(?:upgrade:[ \t]*h2c|http2-settings:[^\r]*)[ \t]*(?=\r\n)", re.IGNORECASE)
_VERSIONS = frozenset({b"HTTP/1.1", b"HTTP/1.0"})
_NEVER = frozenset({b"TRACE", b"CONNECT"})
_JUDGED = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_MAX_LENGTH_DIGITS = 15
_SHOWN = 200  # bytes of a wrong Host, in the log
_MAX_SIZE_LINE = 256  # of a chunk: 16 digits and, from very few clients, a signature
_CHUNK_FRAME = 4  # bytes around a chunk's size and content: two line ends
MOST_LINES = 2048
"""The number of lines of a chunked body that are read in one turn of the loop."""

_MAX_EXTRA = 16 * 1024  # of chunk framing and trailers that the content does not outweigh


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer is `problem`, and the connection ends.

    `detail` may be shown to the client; `host` is the one that came where that is why, for the log alone.
    """

    problem: Problem
    detail: str
    host: str | None = field(default=None, compare=False)
    head: bytes = field(default=b"", compare=False, repr=False)  # what there is of one that is too large


class Head(NamedTuple):
    """A complete head whose lines are beyond doubt. `raw` includes the empty line at its end."""

    raw: bytes
    method: bytes
    target: bytes
    http_1_0: bool


class RequestLine(NamedTuple):
    """A request line that is beyond doubt."""

    method: bytes
    target: bytes
    http_1_0: bool


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of `[server]`, ready for use. Times are seconds."""

    scheme: bytes
    hosts: frozenset[bytes]
    max_head_bytes: int
    max_head_fields: int
    max_path_bytes: int
    head_timeout: float
    body_timeout: float
    write_timeout: float

    @classmethod
    def configured(cls, settings: ServerSettings) -> "RequestLimits":
        """The rules for this server; Host may name the scheme's own port or leave it out."""
        public = PublicOrigin.parse(settings.public_url)
        own_port = b":443" if public.scheme == b"https" else b":80"
        bare = public.host.endswith(b"]") or b":" not in public.host
        return cls(
            scheme=public.scheme,
            hosts=frozenset({public.host, public.host + own_port} if bare else {public.host}),
            max_head_bytes=settings.max_head_bytes,
            max_head_fields=settings.max_head_fields,
            max_path_bytes=settings.max_path_bytes,
            head_timeout=settings.head_timeout,
            body_timeout=settings.body_timeout,
            write_timeout=settings.write_timeout,
        )


def _bad(detail: str) -> Refusal:
    return Refusal(Problem.BAD_REQUEST, detail)


_BARE_LF = _bad("a line ends without CR")


class RequestParser:
    """Collects the bytes of one head after the other."""

    __slots__ = ("_buffer", "_max_bytes", "_max_fields", "_skipped")

    def __init__(self, max_bytes: int, max_fields: int) -> None:
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._buffer = bytearray()
        self._skipped = False

    @property
    def begun(self) -> bool:
        """Whether the first bytes of a head are here, and not yet its end."""
        return bool(self._buffer)

    @property
    def fresh(self) -> bool:
        """Whether nothing of a head is here, and no empty line before it was skipped either."""
        return not self._buffer and not self._skipped

    def feed(self, data: bytes) -> tuple[Head, bytes] | Refusal | None:
        """The head and what follows it; a refusal; or None while the head is incomplete.

        One empty line before a head is skipped, as old clients send one after a body (RFC 9112 2.2).
        """
        if not self._buffer and data[:1] != b"\r":
            return self._keep(data, self._judge(data, 0))
        buffer, seen = self._buffer, len(self._buffer)
        buffer += data
        if not self._skipped:
            if len(buffer) == 1:
                return None
            if buffer.startswith(b"\r\n"):
                del buffer[:2]
                seen = 0
                self._skipped = True
        return self._keep(buffer, self._judge(buffer, seen))

    def _keep(
        self, buffer: bytes | bytearray, outcome: tuple[Head, bytes] | Refusal | None
    ) -> tuple[Head, bytes] | Refusal | None:
        if outcome is None:
            self._buffer = bytearray(buffer) if isinstance(buffer, bytes) else buffer
        else:
            self._buffer = bytearray()
            self._skipped = False
        return outcome

    def _judge(self, buffer: bytes | bytearray, seen: int) -> tuple[Head, bytes] | Refusal | None:
        if buffer and not 0x41 <= buffer[0] <= 0x5A:  # noqa: PLR2004 - A to Z
            return _bad("not an HTTP request")
        found = buffer.find(_END, max(0, seen - 3))
        end = len(buffer) if found < 0 else found + len(_END)
        if (seen or found < 0 or end > self._max_bytes) and (early := self._judge_early(buffer, seen, end)):
            return early
        if found < 0:
            return None
        if end == len(buffer):
            head = parse_head(bytes(buffer), self._max_fields)
            return head if isinstance(head, Refusal) else (head, b"")
        head = parse_head(bytes(buffer[:end]), self._max_fields)
        return head if isinstance(head, Refusal) else (head, bytes(buffer[end:]))

    def _judge_early(self, buffer: bytes | bytearray, seen: int, end: int) -> Refusal | None:
        """What needs no complete head: looks at the bytes that are new, and at none beyond the limit."""
        stop = min(end, self._max_bytes)
        if buffer.count(b"\n", seen, stop) != buffer.count(b"\r\n", max(0, seen - 1), stop):
            return _BARE_LF
        if end > self._max_bytes:
            seen_of_it = bytes(buffer[: self._max_bytes])
            return Refusal(Problem.HEADERS_TOO_LARGE, f"more than {self._max_bytes} bytes", head=seen_of_it)
        return None


def parse_head(raw: bytes, max_fields: int) -> Head | Refusal:
    """Judges a complete head, which ends with the first empty line in it."""
    lines = raw.count(b"\r\n")
    if raw.count(b"\n") != lines:
        return _BARE_LF
    if lines - 2 > max_fields:
        return Refusal(Problem.HEADERS_TOO_LARGE, f"more than {max_fields} fields", head=raw)
    if raw.count(b"\r") != lines or raw.translate(None, _HEAD_BYTES):
        return _bad("control character in the head")
    if b"\r\n " in raw or b"\r\n\t" in raw:
        return _bad("folded header line")
    line = judge_line(raw[: raw.index(b"\r\n")])
    return line if isinstance(line, Refusal) else Head(raw, line.method, line.target, line.http_1_0)


def own_form(head: Head, rules: RequestLimits) -> Head | Refusal:
    """The head as the parser is to see it; or why it is not to see it: another origin, too long a path.

    An absolute-form target that names this very origin becomes a path (RFC 9112 3.2.2); Host is judged all
    the same. The offer to go on in HTTP/2, `Upgrade: h2c`, is taken out: it is declined by going on in
    HTTP/1.1 (RFC 9110 7.8). A parser that never sees the offer cannot take the body behind it for anything
    but a body, so that it need not be refused.
    """
    if not head.target.startswith(b"/"):
        found = _ABSOLUTE.match(head.target)
        assert found is not None
        if found[1].lower() != rules.scheme or found[2].lower() not in rules.hosts:
            return _bad("the request target names another origin")
        path = head.target[found.end() :]
        target = path if path.startswith(b"/") else b"/" + path
        start = len(head.method) + 1
        head = Head(
            head.raw[:start] + target + head.raw[start + len(head.target) :],
            head.method,
            target,
            head.http_1_0,
        )
    if len(head.target) > rules.max_path_bytes:
        path = head.target.partition(b"?")[0]
        if len(path) > rules.max_path_bytes:  # for our own paths too: a server decodes each before we see it
            return _bad(f"longer than {rules.max_path_bytes} bytes")
    if (b"h2c" in head.raw or b"H2C" in head.raw) and len(_UPGRADES.findall(head.raw)) == 1:
        raw = _OFFERS.sub(b"", head.raw)
        head = Head(raw, head.method, head.target, head.http_1_0)
    return head


def parse_line(line: bytes) -> RequestLine | Refusal:
    """Judges a request line that comes alone: the fields behind it are known to be in order."""
    if line.translate(None, _LINE_BYTES):
        return _bad("control character in the head")
    return judge_line(line)


def judge_line(line: bytes) -> RequestLine | Refusal:
    """Judges a request line in which there are no control characters but tabs."""
    parts = line.split(b" ")
    if len(parts) != 3 or b"\t" in parts[1]:  # noqa: PLR2004 - method, target, version
        return _bad("malformed request line")
    method, target, version = parts
    if version not in _VERSIONS:
        return _bad("only HTTP/1.0 and HTTP/1.1 are served")
    if method in _NEVER:
        return Refusal(Problem.METHOD_NOT_ALLOWED, "TRACE and CONNECT are not served")
    if not target.startswith(b"/") and not _ABSOLUTE.match(target):
        return _bad("the request target must be a path")
    if b"#" in target or not target.isascii():
        return _bad("character in the request target that must be encoded")
    return RequestLine(method, target, version == b"HTTP/1.0")


def judge_fields(
    headers: Sequence[Header], *, http_1_0: bool, hosts: frozenset[bytes], websocket: bool
) -> int | Refusal | None:
    """The body's length in bytes, None for a chunked one, or why the request is refused.

    Args:
        headers: names in lower case, values without surrounding blanks.
        http_1_0: the request's version.
        hosts: what Host may be, in lower case.
        websocket: whether an upgrade to websocket may be asked for.
    """
    judged: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _JUDGED:
            if name in judged:
                return _bad(f"more than one {name.decode('ascii')} header")
            judged[name] = value
    host = judged.pop(b"host", None)
    if host is None:
        return _bad("no host header")
    if host not in hosts and host.lower() not in hosts:
        ours, came = min(hosts, key=len).decode("ascii"), host[:_SHOWN].decode("latin-1")
        return Refusal(Problem.WRONG_HOST, f"this is {ours}", came)
    return _judge_framing(judged, http_1_0=http_1_0, websocket=websocket) if judged else 0


def _judge_framing(  # noqa: PLR0911 - a list of refusals
    judged: dict[bytes, bytes], *, http_1_0: bool, websocket: bool
) -> int | Refusal | None:
    length, coding = judged.get(b"content-length"), judged.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            return _bad("both content-length and transfer-encoding")
        if http_1_0 or coding.lower() != b"chunked":
            return _bad("transfer-encoding must be a single chunked, on HTTP/1.1")
    if length is not None and not (length.isdigit() and len(length) <= _MAX_LENGTH_DIGITS):
        return _bad("malformed content-length")
    upgrade = judged.get(b"upgrade")
    if upgrade is not None:
        if http_1_0 or upgrade.lower() != b"websocket" or not websocket:
            return _bad("this upgrade is not served")
        if coding is not None or length not in {None, b"0"}:
            return _bad("an upgrade has no body")
    if not http_1_0 and judged.get(b"expect", b"100-continue").lower() != b"100-continue":
        return Refusal(Problem.EXPECTATION_FAILED, "")
    return None if coding is not None else int(length or 0)


class FramingError(ValueError):
    """A chunked body is malformed; the message says how, and may be shown."""


class LengthBody:
    """Finds the end of a body of known length, above 0."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body."""
        taken = min(self.left, len(data))
        self.left -= taken
        return taken

    @property
    def over(self) -> bool:
        """Whether the body is complete."""
        return self.left == 0


class ChunkedBody:
    """Finds the end of a chunked body (RFC 9112 7.1), and bounds what surrounds the content.

    The content itself is decoded by the parser that is fed the same bytes; this only makes sure that it
    is fed no byte of what follows.
    """

    __slots__ = ("_extra", "_left", "_line", "_trailers", "over")

    def __init__(self) -> None:
        self.over = False
        self._trailers = False
        self._line = bytearray()
        self._left = 0  # of the chunk's content and its CRLF
        self._extra = 0

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body, framing included; raises FramingError.

        Stops early after `MOST_LINES` lines, so that one read does not hold the loop.
        """
        at, lines = 0, 0
        while at < len(data) and not self.over and lines < MOST_LINES:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            at = self._take_line(data, at)
            lines += 1
        return at

    def _take_line(self, data: bytes, at: int) -> int:
        limit = _MAX_EXTRA if self._trailers else _MAX_SIZE_LINE
        newline = data.find(b"\n", at, at + limit)
        end = len(data) if newline < 0 else newline + 1
        self._line += data[at:end]
        if len(self._line) > limit:
            raise FramingError("a chunk's size line or the trailers are too long")
        if newline < 0:
            return end
        line = bytes(self._line)
        if not line.endswith(b"\r\n") or line.count(b"\r") != 1:
            raise FramingError("a line of the chunked body does not end with CRLF")
        self._line.clear()
        self._note_line(line[:-2])
        return end

    def _note_line(self, line: bytes) -> None:
        if self._trailers:
            self.over = not line
            self._spend(len(line) + 2)
            return
        digits = line.partition(b";")[0]
        if not digits or len(digits) > _MAX_LENGTH_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
            raise FramingError("malformed chunk size")
        size = int(digits, 16)
        self._spend(len(line) + _CHUNK_FRAME - size)
        self._left = size + 2 if size else 0
        self._trailers = not size

    def _spend(self, extra: int) -> None:
        self._extra = max(0, self._extra + extra)
        if self._extra > _MAX_EXTRA:
            raise FramingError("more chunk framing or trailers than content")
