"""The response writer: everything that is written to a client of HTTP.

Rule 1: an answer leaves in as few writes as can be: its head waits for the first of its content, for the rest
of the loop's turn at most.
Rule 2: an answer without a known length goes in chunks, or to an HTTP/1.0 client until the connection ends.
"""

import asyncio
import http
from collections.abc import Iterable
from typing import Any

from bff.policy.chunked_body import WITHOUT_CONTENT
from bff.policy.fields import Header
from bff.policy.refusal_answer import refusal_answer
from bff.policy.request_refusal import Refusal
from bff.proxy.server.request_parser import Head
from bff.proxy.server.reset import reset

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
STATUS_LINE = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(100, 600)
}
_CLOSE = b"connection: close\r\n\r\n"


def header_lines(headers: Iterable[Header]) -> bytes:
    """Renders header fields."""
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def response_head(status: int, headers: Iterable[Header], end: bytes = _CLOSE) -> bytes:
    """Renders a response's head; `end` are its last lines, the empty one included."""
    return STATUS_LINE[status] + header_lines(headers) + end


def last_word(refusal: Refusal, default_headers: Iterable[Header]) -> bytes:
    """Renders the answer to a request that is refused by the connection itself."""
    status, headers, body = refusal_answer(refusal)
    return response_head(status, [*default_headers, *headers]) + body


class ResponseWriter:
    """The writer of one connection's answers, one after the other.

    Attributes:
        begun: the head of the present answer is written, or about to be.
        keep_alive: the connection may go on after the answer; may be set to False at any time.
        bodyless: it is sent without its content.
        endless: the answer has no known length.
        awaited: the client waits for a 100 before it sends its body.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, state: Any) -> None:
        self._transport = transport
        self._loop = loop
        self._state = state
        self._default: list[Header] | None = None
        self._default_lines = b""
        self._unsent = b""
        self.begin(None)

    def begin(self, head: Head | None, *, last: bool = False) -> None:
        """Begins an answer to this request (None: one of the fast path); `last` of the connection."""
        self.bodyless = head is not None and head.method == b"HEAD"
        self._http_1_0 = head is not None and head.http_1_0
        self._chunked = False
        self.keep_alive = not last and (head is None or head.keep_alive)
        self.awaited = head is not None and head.expects_continue
        self.begun = self.endless = False

    def go_ahead(self) -> None:
        """Tells the client that its body is wanted, or that its request is being worked on."""
        self.awaited = False
        if not self.begun and not self._http_1_0:
            self._transport.write(CONTINUE)

    def head(self, status: int, headers: list[Header]) -> None:
        """Takes status and headers; connection and coding are the writer's own to say."""
        self.begun, self.awaited = True, False
        self.bodyless = self.bodyless or status in WITHOUT_CONTENT
        lines = self._defaults() + header_lines(headers)
        if not (self.bodyless or any(name == b"content-length" for name, _ in headers)):
            self.endless = True
            self._chunked = not self._http_1_0
            if self._chunked:
                lines += b"transfer-encoding: chunked\r\n"
        self._unsent = STATUS_LINE[status] + lines + (b"\r\n" if self.keep_alive else _CLOSE)
        self._loop.call_soon(self.flush)  # unless content comes at once, and takes it along

    def data(self, chunk: bytes) -> None:
        """Writes a piece of the content."""
        if self.bodyless or not chunk:
            return
        head, self._unsent = self._unsent, b""
        if self._chunked:
            self._transport.write(b"%b%x\r\n%b\r\n" % (head, len(chunk), chunk))
        else:
            self._transport.write(head + chunk if head else chunk)

    def end(self) -> None:
        """Ends the answer."""
        if self._chunked and not self.bodyless:
            self._unsent += b"0\r\n\r\n"
        self.flush()

    def break_off(self) -> None:
        """Ends the connection within the answer so that the client sees that it is incomplete."""
        self.flush()
        if self.endless and not self._chunked:
            reset(self._transport)
        else:
            self._transport.abort()

    def part(self, status: int, lines: list[bytes] | None, content: bytes | memoryview) -> None:
        """Writes content, and before it a head, unless `lines` is None; the answer has a length."""
        if lines is None:
            self._transport.write(content)
            return
        if self._state.default_headers is not self._default:
            self._defaults()
        joined = content if isinstance(content, bytes) else b""
        self._transport.write(b"".join((STATUS_LINE[status], self._default_lines, *lines, b"\r\n", joined)))
        if joined is not content:
            # Not `writelines`: asyncio's forgets to pause the protocol in some Pythons, 3.12.1 among them.
            self._transport.write(content)

    def flush(self) -> None:
        """Writes a head that no content took along; nothing to a lost connection, which uvloop refuses."""
        if self._unsent:
            unsent, self._unsent = self._unsent, b""
            if not self._transport.is_closing():
                self._transport.write(unsent)

    def _defaults(self) -> bytes:
        """Returns the header lines of every answer; uvicorn makes the list anew each second."""
        default = self._state.default_headers
        if default is not self._default:
            self._default = default
            self._default_lines = header_lines(default)
        return self._default_lines
