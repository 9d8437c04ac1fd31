"""What stands on a lane connection in the place of uvicorn's cycle: one request and its answer.

Rule 1: to uvicorn and to the guarded protocol both kinds here look like a cycle: they have its flags, and
keep them as it would.
"""

import asyncio
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bff.proxy.forward.fast_path import FastCall
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.upstream.interfaces import Header

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_CONTENT, _NOT_MODIFIED, _REFUSED = 204, 304, 400


class LaneConnection(Protocol):
    """What a cycle needs of its connection."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    expect_100_continue: bool

    def default_lines(self) -> bytes:
        """The header lines of every answer."""

    def begin_cycle(self, cycle: "LaneResponse | LaneFastResponse") -> None:
        """This is the request under way from now on."""

    def long_rest(self) -> bool:
        """Whether so much of the request's body is to come that the connection ends with its answer."""

    def hang_up(self) -> None:
        """The connection ends with the answer at hand."""

    def on_response_complete(self) -> None:
        """The answer has been written."""


class LaneResponse:
    """One request and its answer, as the protocol and the exchange (`ClientSide`) see it."""

    __slots__ = (
        "_protocol",
        "_unsent",
        "_with_body",
        "begun",
        "chunked",
        "disconnected",
        "exchange",
        "keep_alive",
        "response_complete",
        "response_started",
        "waiting_for_100_continue",
    )

    exchange: ForwardedCall

    def __init__(self, protocol: LaneConnection, *, with_body: bool, keep_alive: bool) -> None:
        self._protocol = protocol
        self._with_body = with_body
        self.chunked = False
        self._unsent = b""
        self.begun = False
        self.disconnected = False
        self.keep_alive = keep_alive
        self.response_started = False
        self.response_complete = False
        self.waiting_for_100_continue = protocol.expect_100_continue

    @property
    def message_event(self) -> "LaneResponse":
        """Uvicorn wakes its own cycles by an event; this one has nobody asleep."""
        return self

    def set(self) -> None:
        """Nobody is asleep."""

    def send_head(self, status: int, headers: list[Header]) -> None:
        """Writes status line and headers; a body of unknown length goes in chunks."""
        protocol = self._protocol
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [STATUS_LINE[status], protocol.default_lines()]
        known = status in {_NO_CONTENT, _NOT_MODIFIED} or not self._with_body
        self._with_body = self._with_body and status not in {_NO_CONTENT, _NOT_MODIFIED}
        for name, value in headers:
            if name == b"content-length":
                known = True
            lines += (name, b": ", value, b"\r\n")
        if not known:
            self.chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if status >= _REFUSED and protocol.long_rest():
            self.keep_alive = False
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self._unsent = b"".join(lines)
        protocol.loop.call_soon(self._flush)  # unless content comes at once, and takes it along

    def send_data(self, chunk: bytes) -> None:
        """Writes a piece of the body."""
        if not self._with_body or not chunk:
            return
        head, self._unsent = self._unsent, b""
        if self.chunked:
            self._protocol.transport.write(b"%b%x\r\n%b\r\n" % (head, len(chunk), chunk))
        else:
            self._protocol.transport.write(head + chunk if head else chunk)

    def send_end(self) -> None:
        """Ends the answer; the connection goes on to the next request, or ends."""
        protocol = self._protocol
        self._flush()
        if self.chunked and self._with_body:
            protocol.transport.write(b"0\r\n\r\n")
        self.response_complete = True
        if not self.keep_alive:
            protocol.hang_up()
        protocol.on_response_complete()

    def abort(self) -> None:
        """Breaks the answer off: the client sees that it is incomplete by its framing."""
        self._flush()
        self.response_complete = True
        self._protocol.transport.abort()

    def _flush(self) -> None:
        """Writes the head, if no content has taken it along."""
        if self._unsent:
            head, self._unsent = self._unsent, b""
            if not self._protocol.transport.is_closing():  # uvloop refuses to write to a lost connection
                self._protocol.transport.write(head)

    def pause_request(self) -> None:
        """Stops reading the request's body."""
        self._protocol.flow.pause_reading()

    def resume_request(self) -> None:
        """Goes on reading it, and tells a client that waits for it to go ahead."""
        protocol = self._protocol
        if self.waiting_for_100_continue:
            self.waiting_for_100_continue = False
            protocol.transport.write(_CONTINUE)
        protocol.flow.resume_reading()


class LaneFastResponse:
    """A request on the fast path, as the protocol sees it."""

    __slots__ = (
        "call",
        "disconnected",
        "keep_alive",
        "response_complete",
        "response_started",
        "waiting_for_100_continue",
    )

    def __init__(self, call: FastCall) -> None:
        self.call = call
        self.disconnected = self.response_started = self.response_complete = False
        self.waiting_for_100_continue = False
        self.keep_alive = True

    @property
    def message_event(self) -> "LaneFastResponse":
        """Nobody is asleep here either."""
        return self

    def set(self) -> None:
        """Nobody is asleep."""
