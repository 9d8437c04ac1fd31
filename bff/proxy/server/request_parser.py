"""The request parser: heads judged by their bytes. Pure.

Rule 1: a verdict depends on the bytes alone, never on the pieces in which they arrived: a head is judged
when it is complete, and its limits and line ends at the same byte in any case.
Rule 2: a request that two servers could read differently is refused, never repaired (RFC 9112 11.2): bare
LF, folded lines, a doubled field that may come once. Length and coding: `policy/body_length.py`.
Rule 3: after a refusal nothing more of the connection is read as HTTP.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from bff.errors import Problem
from bff.policy.admission import RequestHead
from bff.policy.allowed_hosts import AllowedHosts
from bff.policy.body_length import body_length
from bff.policy.fields import Fields, Header
from bff.policy.request_limits import RequestLimits
from bff.policy.request_refusal import Refusal, bad_request
from bff.policy.websocket_handshake import judge_upgrade
from bff.settings.route_check import parser_takes

_END = b"\r\n\r\n"
_HEAD_BYTES = bytes([*b"\t\r\n", *range(0x20, 0x7F), *range(0x80, 0x100)])
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_TARGET = re.compile(rb"[!\"$-~]+")  # printable ASCII without `#`
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)", re.IGNORECASE)
_NEVER = frozenset({b"TRACE", b"CONNECT"})
_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_OFFER = frozenset({b"upgrade", b"http2-settings"})
_SHOWN = 200  # bytes of a wrong Host, in the log


class Head(NamedTuple):
    """The head of a request that is let in.

    Attributes:
        fields: names in lower case, values without surrounding blanks.
        length: of the body in bytes; None for a chunked body.
        keep_alive: the connection may go on after the answer.
        expects_continue: the client waits for a 100 before it sends the body.
        upgrade: it asks for a WebSocket.
    """

    method: bytes
    path: bytes
    query: bytes
    fields: list[Header]
    length: int | None = 0
    http_1_0: bool = False
    keep_alive: bool = True
    expects_continue: bool = False
    upgrade: bool = False

    def request(self, peer: str) -> RequestHead:
        """Returns the request for admission, of a client at this address."""
        return RequestHead(self.method, self.path, self.query, Fields(self.fields), peer, self.length)


@dataclass(slots=True, eq=False)
class RequestParser:
    """The parser of one connection's heads. `websocket`: upgrades to WebSocket are served."""

    limits: RequestLimits
    websocket: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _skipped: bool = False

    @property
    def begun(self) -> bool:
        """True from the first byte of a head to its end."""
        return bool(self._buffer)

    @property
    def fresh(self) -> bool:
        """True while nothing of a head is here, and no empty line before it was skipped either."""
        return not self._buffer and not self._skipped

    def follow(self, limits: RequestLimits, *, websocket: bool) -> None:
        """Follows other settings, as an added frontend or route; a head that has begun ends as it began."""
        self.websocket = websocket
        if self.fresh:
            self.limits = limits

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """Returns the head and the bytes behind it; None while the head is incomplete.

        One empty line before a head is skipped, as old clients send one after a body (RFC 9112 2.2).

        Raises:
            Refusal: the request is not let in.
        """
        if not self._buffer and data[:1] != b"\r":
            return self._judged(data, 0)
        buffer, seen = self._buffer, len(self._buffer)
        buffer += data
        if not self._skipped:
            if len(buffer) == 1:
                return None
            if buffer.startswith(b"\r\n"):
                del buffer[:2]
                seen = 0
                self._skipped = True
        return self._judged(buffer, seen)

    def _judged(self, buffer: bytes | bytearray, seen: int) -> tuple[Head, bytes] | None:
        """Judges the bytes so far; `seen` of them were looked at before."""
        if buffer and not 0x41 <= buffer[0] <= 0x5A:  # noqa: PLR2004 - A to Z
            raise bad_request("not an HTTP request")
        limit = self.limits.max_head_bytes
        found = buffer.find(_END, max(0, seen - 3))
        end = len(buffer) if found < 0 else found + len(_END)
        stop = min(end, limit)
        if buffer.count(b"\n", seen, stop) != buffer.count(b"\r\n", max(0, seen - 1), stop):
            raise bad_request("a line ends without CR")
        if end > limit:
            refusal = Refusal(Problem.HEADERS_TOO_LARGE, f"more than {limit} bytes")
            refusal.head = bytes(buffer[:limit])
            raise refusal
        if found < 0:
            self._buffer = bytearray(buffer) if isinstance(buffer, bytes) else buffer
            return None
        self._buffer, self._skipped = bytearray(), False
        raw = bytes(buffer[:end])
        try:
            return parse_head(raw, self.limits, websocket=self.websocket), bytes(buffer[end:])
        except Refusal as refusal:
            refusal.head = raw
            raise


def parse_head(raw: bytes, limits: RequestLimits, *, websocket: bool = False) -> Head:
    """Parses and judges a complete head, which ends with the first empty line in it.

    Raises:
        Refusal: the request is not let in.
    """
    count = raw.count(b"\r\n")
    if count - 2 > limits.max_head_fields:
        raise Refusal(Problem.HEADERS_TOO_LARGE, f"more than {limits.max_head_fields} fields")
    if raw.count(b"\n") != count or raw.count(b"\r") != count or raw.translate(None, _HEAD_BYTES):
        raise bad_request("control character in the head")
    line, *lines = raw[: -len(_END)].split(b"\r\n")
    method, path, query, http_1_0, named = parse_request_line(line, limits)
    fields = [parse_field(line) for line in lines]
    single: dict[bytes, bytes] = {}
    options: set[bytes] = set()
    for name, value in fields:
        if name in _SINGLE:
            if name in single:
                raise bad_request(f"more than one {name.decode('ascii')} header")
            single[name] = value
        elif name == b"connection":
            options.update(option.strip(b" \t").lower() for option in value.split(b","))
    if single.get(b"upgrade", b"").lower() == b"h2c":
        # The offer of HTTP/2 is declined by going on in HTTP/1.1 (RFC 9110 7.8), and forwarded to nobody.
        del single[b"upgrade"]
        fields = [field for field in fields if field[0] not in _OFFER]
    _judge_host(single.get(b"host"), path, named, limits.hosts)
    length = body_length(single, http_1_0=http_1_0)
    if b"upgrade" in single:
        judge_upgrade(single, http_1_0=http_1_0, websocket=websocket)
    if not http_1_0 and single.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise Refusal(Problem.EXPECTATION_FAILED)
    return Head(
        method,
        path,
        query,
        fields,
        length,
        http_1_0,
        not http_1_0 and b"close" not in options,
        length != 0 and not http_1_0 and b"expect" in single,
        b"upgrade" in single and b"upgrade" in options,
    )


def parse_request_line(line: bytes, limits: RequestLimits) -> tuple[bytes, bytes, bytes, bool, bytes]:
    """Returns method, path and query, true for HTTP/1.0, and the host that the target names, if any.

    An absolute-form target that names an origin of ours becomes a path (RFC 9112 3.2.2).
    """
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise bad_request("malformed request line, or a version that is not served")
    if method in _NEVER:
        raise Refusal(Problem.METHOD_NOT_ALLOWED, "TRACE and CONNECT are not served")
    if not parser_takes(method.decode("latin-1")):
        raise bad_request("unknown method")
    if not _TARGET.fullmatch(target):
        raise bad_request("character in the request target that must be encoded")
    host = b""
    if not target.startswith(b"/"):
        named = _ABSOLUTE.match(target)
        if named is None:
            raise bad_request("the request target must be a path")
        host = named[2].lower()
        if not limits.hosts.allows_target(named[1].lower(), host):
            raise bad_request("the request target names another origin")
        target = target[named.end() :]
        target = target if target.startswith(b"/") else b"/" + target
    path, _, query = target.partition(b"?")
    if len(path) > limits.max_path_bytes:  # of our own paths too
        raise bad_request(f"longer than {limits.max_path_bytes} bytes")
    return method, path, query, version == b"HTTP/1.0", host


def parse_field(line: bytes) -> Header:
    """Returns the name in lower case and the value of a header line."""
    found = _FIELD.fullmatch(line)
    if found is None:
        raise bad_request("folded header line" if line[:1] in {b" ", b"\t"} else "malformed header line")
    return found[1].lower(), found[2].rstrip(b" \t")


def _judge_host(host: bytes | None, path: bytes, named: bytes, hosts: AllowedHosts) -> None:
    """Judges the Host. One that the target has `named` counts for some servers, and Host for others."""
    if host is None:
        raise bad_request("no host header")
    if named and not hosts.are_same(named, host):
        raise bad_request("the request target and the host header name two hosts")
    if not hosts.allows(host, path):
        raise Refusal(Problem.WRONG_HOST, hosts.advice(), host[:_SHOWN].decode("latin-1"), hosts.home())
