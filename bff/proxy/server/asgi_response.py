"""How a request with a known head goes through ASGI: what uvicorn made of it before is not made again.

Rule 1: the application sees the same scope, and the client the same bytes, as by uvicorn's own cycle: what
this one does not answer for is uvicorn's to send.
Rule 2: it leans on uvicorn's inner workings, which `tests/proxy/server/test_uvicorn_internals.py` pins.
"""

import asyncio
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from bff.proxy.server.head_cache import CachedFields, HeadCache
from bff.proxy.server.known_head import KnownHeadProtocol
from bff.proxy.server.request_parser import Head, RequestLine
from bff.proxy.upstream.interfaces import Header

_FROM_THE_LINE = ("method", "path", "raw_path", "query_string")
_MOST_LINES = 4096
_LONGEST = 1024  # bytes of a value whose line is kept
_LEFT_TO_UVICORN = frozenset({b"connection", b"transfer-encoding"})


class AsgiProtocol(KnownHeadProtocol):
    """One client connection."""

    heads: HeadCache[Header]

    def _begin_known(self, known: CachedFields[Header], line: RequestLine, raw: bytes, head: bytes) -> None:
        of_line = known.scopes.get(raw)
        if of_line is None or self.limit_concurrency is not None:
            super()._begin_known(known, line, raw, head)
            if raw in known.lines:
                known.scopes[raw] = {name: self.scope[name] for name in _FROM_THE_LINE}  # type: ignore[literal-required] # names of its own
            return
        HttpToolsProtocol.on_message_begin(self)
        self._head = Head(head, line.method, line.target, line.http_1_0)
        self.headers.extend(known.fields.headers)  # the scope holds this list
        self.scope.update(of_line)  # type: ignore[typeddict-item] # what it had
        self._tell(known, raw)
        self.cycle = cycle = AsgiResponse(self, keep_alive=known.keep_alive)
        self._start_asgi_task(cycle, self.app)


class AsgiResponse(RequestResponseCycle):
    """A request without a body, and its answer."""

    def __init__(self, protocol: AsgiProtocol, *, keep_alive: bool) -> None:
        super().__init__(
            scope=protocol.scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=protocol.on_response_complete,
        )
        self._default_lines = protocol.default_lines()
        self._simple = not protocol.access_log and protocol.scope["method"] != "HEAD"
        self.more_body = False
        self.message_event.set()

    async def send(self, message: Any) -> None:
        """Sends a message of the application's; most are a head with its length, and all of its content."""
        if self.flow.write_paused or self.disconnected or not self._simple or not self.keep_alive:
            await super().send(message)
        elif not self.response_started:
            head = self._head(message)
            if head is None:
                await super().send(message)
            else:
                self.response_started = True
                self.chunked_encoding = False
                self.transport.write(head)
        elif self._is_all_content(message):
            self.expected_content_length = 0
            self.response_complete = True
            self.transport.write(message.get("body", b""))
            self.message_event.set()
            self.on_response()
        else:
            await super().send(message)

    def _is_all_content(self, message: Any) -> bool:
        return (
            message["type"] == "http.response.body"
            and not message.get("more_body", False)
            and self.chunked_encoding is False
            and len(message.get("body", b"")) == self.expected_content_length
            and not self.response_complete
        )

    def _head(self, message: Any) -> bytes | None:
        """The head, if it is one with a length and nothing unusual; None where uvicorn is to see to it."""
        status_line = STATUS_LINE.get(message.get("status"))
        if message["type"] != "http.response.start" or status_line is None:
            return None
        lines = [status_line, self._default_lines]
        length = -1
        for name, value in message.get("headers", ()):
            kept = len(value) <= _LONGEST and name != b"set-cookie"  # which is one client's own, and a secret
            line, told = _line(name, value) if kept else _line.__wrapped__(name, value)
            lines.append(line)
            if told is not None:
                if told < 0 or length >= 0:
                    return None
                length = told
        if length < 0:
            return None
        self.expected_content_length = length
        lines.append(b"\r\n")
        return b"".join(lines)


@lru_cache(_MOST_LINES)
def _line(name: bytes, value: bytes) -> tuple[bytes, int | None]:
    """A field's line as uvicorn writes it, and the length it tells; -1 where it is not for us to judge."""
    lower = name.lower()
    if lower in _LEFT_TO_UVICORN or HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        return b"", -1
    length = None
    if lower == b"content-length":
        length = int(value) if value.isdigit() else -1
    return b"%b: %b\r\n" % (lower, value), length
