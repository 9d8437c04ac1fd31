"""Heads that repeat: a client sends the same fields with call after call, and only the request line differs.

Rule 1: fields are known by their bytes, all of them, and only where no body followed: byte for byte the same
fields cannot be judged, framed or parsed differently. The request line is judged each time.
Rule 2: to uvicorn a head that was not parsed again looks like one that was: `_Parsed` says what its parser
would say.
"""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bff.policy.fields import Fields
from bff.proxy.front_door import Head, Refusal, RequestLine, parse_line
from bff.proxy.plain import KnownFields
from bff.proxy.protocol import GuardedHttpProtocol

_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
"""Those of which the parser needs not be asked whether it knows them."""


class KnownHeadProtocol(GuardedHttpProtocol):
    """One client connection, and the fields of the last request on it that had no body."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: KnownFields[bytes] | None = None

    def _dispatch(self) -> None:
        head = self._head
        assert head is not None
        if self._verdict == 0 and not head.http_1_0 and not self.parser.should_upgrade():
            self._known = KnownFields(
                head.raw, Fields(list(self.headers)), keep_alive=self.parser.should_keep_alive()
            )
        super()._dispatch()

    def _take_head(self, data: bytes) -> bytes:
        known = self._known
        if known is not None and not self._reader.begun:
            rest = self._take_known(known, data)
            if rest is not None:
                return rest
        return super()._take_head(data)

    def _take_known(self, known: KnownFields[bytes], data: bytes) -> bytes | None:
        """Takes a head with the known fields; None for any other, which goes the long way."""
        end = data.find(b"\r\n")
        if end < 0 or not data.startswith(known.raw, end):
            return None
        over = end + len(known.raw)
        line = parse_line(data[:end])
        if over > self.door.max_head_bytes or isinstance(line, Refusal) or line.http_1_0:
            return None
        if line.method not in _METHODS:
            return None
        self._stop_read_watch()
        self._verdict, self._message_over = 0, True
        self.expect_100_continue = False
        try:
            self._begin_known(known, line, data[:over])
        except httptools.HttpParserError as error:  # of the target, which uvicorn takes apart
            self._parser_error(error)
            return b""
        self._head_taken()
        return data[over:]

    def _begin_known(self, known: KnownFields[bytes], line: RequestLine, head: bytes) -> None:
        """Begins a request that has no body."""
        HttpToolsProtocol.on_message_begin(self)
        self._head = Head(head, line.method, line.target, line.http_1_0)
        self.url = line.target
        self.headers.extend(known.fields.headers)  # the scope holds this list
        parser = self.parser
        self.parser = _Parsed(line.method, keep_alive=known.keep_alive)  # type: ignore[assignment] # Rule 2
        try:
            super()._dispatch()
        finally:
            self.parser = parser
        self.cycle.more_body = False
        self.cycle.message_event.set()


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
