"""How an answer leaves through uvicorn's cycle: what has to be different at its end."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection visibly: with a reset, where `abort` alone would end it like a complete one."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Outlet:
    """The transport as a cycle sees it: closing waits for what the client is still sending."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


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
