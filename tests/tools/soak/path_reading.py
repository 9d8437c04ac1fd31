"""The requests and answers of a connection, read by h11 and by hand: slowly, without the product."""

import re
from dataclasses import dataclass
from functools import lru_cache

import h11

from bff.policy.cookie_parser import cookie_values

Fields = dict[bytes, bytes]

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [^\r\n]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\r\n\0]*)")
_FRAMED = {b"content-length", b"transfer-encoding"}
_CONTINUE = 100


@dataclass(frozen=True)
class Asked:
    """A request; `end` is where its head ends."""

    method: bytes
    target: bytes
    cookies: tuple[bytes, ...]
    fields: Fields
    body: bytes = b""
    whole: bool = True
    end: int = 0

    @property
    def announced(self) -> bool:
        """True if there is to be a body."""
        return bool(_FRAMED & self.fields.keys())

    @property
    def handle(self) -> bytes | None:
        """The one session cookie."""
        values = cookie_values(self.cookies, b"bff")
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True)
class Answered:
    """An answer; `end` is where it ends, None where it does not."""

    status: int
    fields: Fields
    body: bytes
    end: int | None


def content(fields: Fields, data: bytes) -> tuple[bytes, int, bool]:
    """Returns the body so far, the bytes that it takes, and true if that is all."""
    if b"transfer-encoding" not in fields:
        length = int(fields.get(b"content-length", b"0"))
        return data[:length], min(length, len(data)), len(data) >= length
    body, at = b"", 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = re.match(rb"[0-9a-fA-F]{1,16}", data[at:end])
        if size is None:
            break
        length, start = int(size[0], 16), end + 2
        if not length:
            over = data.find(b"\r\n\r\n", end)
            return body, over + 4 if over >= 0 else len(data), over >= 0
        body += data[start : start + length]
        if data[start + length : start + length + 2] != b"\r\n":
            break
        at = start + length + 2
    return body, len(data), False


@lru_cache(4096)
def _head(raw: bytes) -> Asked | None:
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(raw)
    try:
        event = server.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.Request):
        return None
    headers = [(bytes(name), bytes(value)) for name, value in event.headers]
    cookies = tuple(value for name, value in headers if name == b"cookie")
    return Asked(bytes(event.method), bytes(event.target), cookies, dict(headers))


@lru_cache(4096)
def asked(data: bytes) -> tuple[Asked, ...]:
    """The requests that a client has sent: whole ones, and at most one at the end that is not."""
    found: list[Asked] = []
    at = 0
    while not found or found[-1].whole:
        if data.startswith(b"\r\n", at):
            at += 2
        end = data.find(b"\r\n\r\n", at)
        head = _head(data[at : end + 4]) if end >= 0 else None
        if head is None:
            break
        body, used, whole = content(head.fields, data[end + 4 :])
        at = end + 4 + used
        found.append(Asked(head.method, head.target, head.cookies, head.fields, body, whole, end + 4))
    return tuple(found)


def answered(data: bytes, requests: tuple[Asked, ...], *, ended: bool) -> list[Answered]:
    """The answers that a client has got; nothing else may be there. `ended`: its connection, cleanly."""
    found: list[Answered] = []
    at = 0
    while at < len(data):
        assert not found or found[-1].end is not None, "something behind a broken answer"
        end = data.find(b"\r\n\r\n", at)
        assert end >= 0, "half a head"
        first, *lines = data[at:end].split(b"\r\n")
        status = _STATUS.fullmatch(first)
        parsed = [_FIELD.fullmatch(line) for line in lines]
        assert status is not None, first
        pairs = [(field[1].lower(), field[2]) for field in parsed if field is not None]
        assert len(pairs) == len(lines), lines
        fields, number = dict(pairs), int(status[1])
        assert sum(name in _FRAMED for name, _ in pairs) <= 1
        at = end + 4
        if number == _CONTINUE:
            continue
        bodyless = number in {204, 304} or _for_head(requests, len(found), data, at)
        if bodyless:
            body, used, whole = b"", 0, True
        elif _FRAMED & fields.keys():
            body, used, whole = content(fields, data[at:])
        else:
            body, used, whole = data[at:], len(data) - at, ended
        at += used
        found.append(Answered(number, fields, body, at if whole else None))
    return found


def _for_head(requests: tuple[Asked, ...], number: int, data: bytes, at: int) -> bool:
    """Returns true if the answer belongs to a HEAD; a request that h11 refuses may have been one too."""
    if number < len(requests):
        return requests[number].method == b"HEAD"
    return at == len(data)
