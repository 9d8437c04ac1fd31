"""The end of a client's connection: an orderly close, and a client that closes its own side first.

Rule 1: the last answer reaches a client that is still sending (RFC 9112 9.6). The sending side is closed
first; what comes is then read and dropped until the client closes, is silent, or has had its time or bytes.
A socket that is closed with unread input resets, and a reset destroys the answer on its way.
Rule 2: a client that has closed its sending side behind a whole request gets its answer. A client that has
gone altogether looks the same, until something is sent to it: so a 100 is sent (RFC 9110 15.2: any client
reads over it), and a reset in answer to it, or to a piece of the answer, ends the call.
"""

import asyncio
import socket
from typing import Any

from bff.proxy.server.request_parser import ChunkedBody, LengthBody, RequestLimits
from bff.proxy.server.response_writer import ResponseTransport, reset
from bff.proxy.server.websocket_protocol import UpgradingProtocol

STATE = "bff_forwarding"
"""The name under which the lifespan state holds what forwards requests."""

DRAIN = 64 * 1024
"""How much of a body is read after its answer is complete for the connection to go on, in bytes."""

_LINGER_QUIET = 5.0
"""The time that a client may be silent after the last answer, in seconds."""

_LINGER_TIME = 30.0
"""The time that a client may go on sending after the last answer, in seconds."""

_LINGER_BYTES = 1024 * 1024 * 1024
"""How much a client may send after the last answer, in bytes: the largest upload that a client is likely to
push without a look at what comes back."""

_FIRST_LOOK, _LOOK = 0.1, 1.0
"""When a half-closed client is looked for, first and then again, in seconds."""

_STATUS_AT, _AN_ERROR = 9, ord("4")  # where a status begins in a head, and what it begins with

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClosingProtocol(UpgradingProtocol):
    """The part of the guarded protocol that ends a connection."""

    door: RequestLimits
    _outlet: ResponseTransport
    _body: LengthBody | ChunkedBody | None
    _held: bytes
    _read_watch: asyncio.TimerHandle | None
    half_closed = False
    draining = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering = False
        self._thrown_away = 0
        self._linger_until = 0.0
        self._heard = False  # something came since the last look
        self._look: asyncio.TimerHandle | None = None

    def _answering(self) -> bool:
        """Whether a request is under way whose answer is not complete."""
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr] # None at first

    def _amend(self, head: bytes) -> bytes:
        """What uvicorn's cycle does not know of the answer that it begins.

        The length in a 304 is of content that is not sent (RFC 9110 8.6): none of it is waited for. An error
        that comes early, before a long rest of the request's body, ends the connection and says so.
        """
        cycle = self.cycle
        if head.startswith(b"304", _STATUS_AT):
            cycle.expected_content_length = 0
        elif head[_STATUS_AT] >= _AN_ERROR and cycle.keep_alive and self.long_rest():
            cycle.keep_alive = False
            return head[:-2] + b"connection: close\r\n\r\n"
        return head

    def long_rest(self) -> bool:
        """Whether so much of the request's body is to come that the connection ends with its answer."""
        return isinstance(self._body, LengthBody) and self._body.left > DRAIN

    def drain(self) -> None:
        """The next answer is the last one, and says so; harmless when said again.

        An idle connection is not closed: a request that is on its way to it could not be told from one that
        was read, and a reverse proxy repeats no POST (RFC 9112 9.3.1). An answer whose head has left is not
        the last one for the same reason: its client has been promised another. Event streams end.
        """
        if self.draining:
            return
        self.draining = True
        self._end_event_streams()
        if self._answering() and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """The server stops: an idle connection is closed, a busy one after its answer; event streams end."""
        if self._answering():
            self.cycle.keep_alive = False
        else:
            self._close()
        self._end_event_streams()

    def _end_event_streams(self) -> None:
        if (forwarding := self.app_state.get(STATE)) is not None:
            forwarding.parts.event_streams.stop()

    def _hang_up(self) -> None:
        """The server's side is done with this connection."""
        if self._body is None and not self._held:
            self._close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Closes the sending side, then reads and drops (Rule 1)."""
        if self._lingering or self.transport.is_closing():
            return
        self._lingering = True
        self._thrown_away = 0
        self._held = b""
        self._stop_read_watch()
        self.flow.resume_reading()
        self._outlet.flush()
        if self.half_closed:
            self._close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._heard = False
        self._linger_until = self.loop.time() + _LINGER_TIME
        self._read_watch = self.loop.call_later(_LINGER_QUIET, self._linger_on)

    def _linger_on(self) -> None:
        """Goes on reading if something came, and there is time left."""
        left = self._linger_until - self.loop.time()
        if self._heard and left > 0:
            self._heard = False
            self._read_watch = self.loop.call_later(min(left, _LINGER_QUIET), self._linger_on)
        else:
            self._close()

    def _throw_away(self, count: int) -> None:
        self._thrown_away += count
        self._heard = True
        if self._lingering:
            if self._thrown_away > _LINGER_BYTES:
                self._close()
        elif self._thrown_away > DRAIN:
            self._linger()

    def _close(self) -> None:
        """Closes once what has been written is read; not reading has its limit here too."""
        self._stop_read_watch()
        self._outlet.flush()
        self.transport.close()
        if self._write_watch is None and self.transport.get_write_buffer_size():
            self._write_watch = self.loop.call_later(self.door.write_timeout, reset, self.transport)

    def _stop_read_watch(self) -> None:
        if self._read_watch is not None:
            self._read_watch.cancel()
            self._read_watch = None

    # A client that closes its sending side

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's closes at once
        """The client sends no more; True where it is still to get an answer (Rule 2)."""
        if self.half_closed:  # reading went on, to find the same end
            return not self.transport.is_closing()
        if self._lingering or self._body is not None or not (self._answering() or self._held):
            return False
        self.half_closed = True
        cycle = self.cycle
        if not self._held:
            cycle.keep_alive = False
        if not cycle.response_started and self.speaks_1_1():
            self.transport.write(_CONTINUE)
        self._look = self.loop.call_later(_FIRST_LOOK, self._look_for_client, cycle.response_started)
        return True

    def speaks_1_1(self) -> bool:
        """Whether the request under way is one whose client knows interim answers."""
        raise NotImplementedError

    def _look_for_client(self, unsure: bool) -> None:
        """Ends the connection of a half-closed client that has reset it since.

        `unsure`: its answer had begun, so that there was no place for a 100. An event stream that is silent
        then tells nothing: its client counts as gone.
        """
        self._look = None
        if self.transport.is_closing():
            return
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        gone = connection is not None and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        if gone or (unsure and self.endless()):
            self.transport.abort()
        else:
            self._look = self.loop.call_later(_LOOK, self._look_for_client, unsure)

    def endless(self) -> bool:
        """Whether the answer under way has no known length."""
        return getattr(self.cycle, "chunked_encoding", False) is True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        super().connection_lost(exc)
