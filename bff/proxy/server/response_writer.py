"""How an answer leaves through uvicorn's cycle: what has to be different at its end."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from bff.policy.navigation import navigates
from bff.problems import problem_response
from bff.proxy.server.request_parser import Head, Refusal
from bff.proxy.upstream.interfaces import Header


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection visibly: with a reset, where `abort` alone would end it like a complete one."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class ResponseTransport:
    """The transport as a cycle sees it.

    A head waits for the first of its content, for the rest of the loop's turn at most, so that both leave in
    one write. `amend` sees each head, and may add to it. Closing waits for what the client is
    still sending.
    """

    __slots__ = ("_amend", "_flush_soon", "_held", "_write", "close", "is_closing")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[], None],
        amend: Callable[[bytes], bytes],
    ) -> None:
        self._write = transport.write
        self._held = b""
        self._flush_soon = partial(loop.call_soon, self.flush)
        self.is_closing = transport.is_closing
        self.close = close
        self._amend = amend

    def write(self, data: bytes) -> None:
        """Writes, a head soon."""
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._held = self._amend(data)
            self._flush_soon()
            return
        self._write(data)

    def flush(self) -> None:
        """Writes what waits; before anything else is done to the connection."""
        if self._held:
            held, self._held = self._held, b""
            if not self.is_closing():  # uvloop refuses to write to a lost connection
                self._write(held)


def close_delimited(app: Any, cycle: RequestResponseCycle, transport: asyncio.Transport) -> Any:
    """Wraps an application for HTTP/1.0, which knows no chunks: its answer ends with the connection.

    A broken answer then has to end by a reset, or it would pass for a complete one.
    """

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def send_unchunked(message: Any) -> None:
            if message["type"] == "http.response.start":
                if not any(name.lower() == b"content-length" for name, _ in message.get("headers", [])):
                    cycle.chunked_encoding = False
                    delimited.append(True)
            elif delimited:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        delimited: list[bool] = []
        try:
            await app(scope, receive, send_unchunked)
        finally:
            if delimited and not cycle.response_complete:
                reset(transport)

    return wrapped


def last_word(refusal: Refusal, default_headers: Sequence[Header], head: Head | None) -> bytes:
    """The answer to a request that is refused at the door, with its head where that was complete."""
    bodyless = head is not None and head.method == b"HEAD"
    page = navigates(_rough_headers(refusal.head if head is None else head.raw))
    status, headers, body = problem_response(refusal.problem, detail=refusal.detail, page=page)
    fields = (*default_headers, *headers, (b"connection", b"close"))
    lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % field for field in fields), b"\r\n"]
    return b"".join(lines if bodyless else [*lines, body])


def _rough_headers(raw: bytes) -> list[Header]:
    """The fields of a head that may have been refused: good enough to choose the form of an error."""
    fields = (line.partition(b":") for line in raw.split(b"\r\n")[1:])
    return [(name.lower(), value.strip()) for name, _, value in fields]
