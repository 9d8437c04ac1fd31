"""Heads that repeat: a client sends the same fields with call after call, and only the request line differs.

Rule 1: fields are known by their bytes, all of them, and only where no body followed: byte for byte the same
fields cannot be judged, framed or parsed differently. The request line is judged each time.
Rule 2: to uvicorn a head that was not parsed again looks like one that was: `_Parsed` says what its parser
would say.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bff.policy.fields import Fields
from bff.proxy.server.head_cache import HEAD_EXTENSION, CachedFields, HeadCache, KnownHead
from bff.proxy.server.protocol import GuardedHttpProtocol
from bff.proxy.server.request_parser import Head, Refusal, RequestLine, parse_line
from bff.proxy.upstream.interfaces import Header

_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
"""Those of which the parser needs not be asked whether it knows them."""


class KnownHeadProtocol(GuardedHttpProtocol):
    """One client connection. Subclasses made by `protocols` carry `heads`, which all connections share."""

    heads: HeadCache[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: CachedFields[Any] | None = None
        self._peer = ""
        self._default_headers: list[Header] | None = None
        self._default_lines = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """A client has connected."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else "unknown"

    def _dispatch(self) -> None:
        head = self._head
        assert head is not None
        if self._verdict == 0 and not head.http_1_0 and not self.parser.should_upgrade():
            known = self._note(head, Fields(list(self.headers)))
            self._tell(known, head.raw[: -len(known.raw)])
        super()._dispatch()

    def _tell(self, known: CachedFields[Any], line: bytes) -> None:
        """Tells the application what is known of the head it is about to get."""
        told: KnownHead = {"heads": self.heads, "known": known, "line": line}
        self.scope["extensions"] = {HEAD_EXTENSION: told}  # type: ignore[dict-item] # uvicorn knows only dicts

    def _note(self, head: Head, fields: Fields) -> CachedFields[Any]:
        """Takes note of a head that has just been parsed, and that no body follows."""
        keep_alive: bool = self.parser.should_keep_alive()
        self._known = self.heads.add(self._peer, head.raw, fields, keep_alive=keep_alive)
        return self._known

    def _take_head(self, data: bytes) -> bytes:
        if self._reader.fresh:
            end = data.find(b"\r\n")
            known = self._known
            if known is None or not data.startswith(known.raw, end):
                known = self.heads.get(self._peer, data[end:])
            if known is not None and end > 0:
                self._known = known
                rest = self._take_known(known, data, end)
                if rest is not None:
                    return rest
        return super()._take_head(data)

    def _take_known(self, known: CachedFields[Any], data: bytes, end: int) -> bytes | None:
        """Takes a head with known fields behind `end`; None where the request line is not plain."""
        over, raw = end + len(known.raw), data[:end]
        line = known.lines.get(raw)
        if line is None:
            judged = parse_line(raw)
            if over > self.door.max_head_bytes or isinstance(judged, Refusal) or judged.http_1_0:
                return None
            if judged.method not in _METHODS or not judged.target.startswith(b"/"):
                return None
            line = known.remember(raw, judged)
        self._stop_read_watch()
        self._verdict, self._message_over = 0, True
        self.expect_100_continue = False
        try:
            self._begin_known(known, line, raw, data[:over])
        except httptools.HttpParserError as error:  # of the target, which uvicorn takes apart
            self._parser_error(error)
            return b""
        self._head_taken()
        return data[over:]

    def _begin_known(self, known: CachedFields[Any], line: RequestLine, raw: bytes, head: bytes) -> None:
        """Begins a request that has no body; `raw` is its line, and `head` all of it."""
        HttpToolsProtocol.on_message_begin(self)
        self._head = Head(head, line.method, line.target, line.http_1_0)
        self.url = line.target
        self.headers.extend(known.fields.headers)  # the scope holds this list
        parser = self.parser
        self.parser = _Parsed(line.method, keep_alive=known.keep_alive)  # type: ignore[assignment] # Rule 2
        self._tell(known, raw)
        try:
            super()._dispatch()
        finally:
            self.parser = parser
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def default_lines(self) -> bytes:
        """The header lines of every answer; uvicorn makes the list anew each second."""
        default = self.server_state.default_headers
        if default is not self._default_headers:
            self._default_headers = default
            self._default_lines = b"".join(b"%b: %b\r\n" % header for header in default)
        return self._default_lines


class _Parsed:
    """What uvicorn asks its parser about a head that it has parsed."""

    __slots__ = ("_keep_alive", "_method")

    def __init__(self, method: bytes, *, keep_alive: bool) -> None:
        self._method = method
        self._keep_alive = keep_alive

    def get_http_version(self) -> str:
        return "1.1"

    def get_method(self) -> bytes:
        return self._method

    def should_keep_alive(self) -> bool:
        return self._keep_alive

    def should_upgrade(self) -> bool:
        return False
