"""The end of a client's connection: the last answer, then the client's own close, or a time-out.

Rule 1: the last answer reaches a client that is still sending (RFC 9112 9.6). The sending side is closed
first; the input is then read and dropped until the client closes, is silent, or has had its time or bytes.
A socket that is closed with unread input resets, and a reset destroys the answer on its way.
Rule 2: a client that has closed its sending side behind a whole request gets its answer. A client that has
gone altogether looks the same, until something is sent to it: so a 100 is sent (RFC 9110 15.2: any client
reads over it), and a reset in answer to it, or to a piece of the answer, ends the call.
"""

import asyncio
import socket
from dataclasses import dataclass

from bff.proxy.server.flow_control import FlowControl
from bff.proxy.server.response_writer import ResponseWriter
from bff.proxy.server.timers import Wait, WaitTimer

DRAIN = 64 * 1024
"""How much of a body is read after its answer is complete for the connection to go on, in bytes."""

_LINGER_QUIET, _LINGER_TIME = 5.0, 30.0
"""How long a client may be silent, and may go on sending, after the last answer, in seconds."""

_LINGER_BYTES = 1024 * 1024 * 1024
"""How much a client may send after the last answer, in bytes: the largest upload that a client is likely to
push without reading the answer."""

_FIRST_LOOK, _LOOK = 0.1, 1.0
"""When a half-closed client is looked for, first and then again, in seconds."""


@dataclass(slots=True, eq=False)
class Closing:
    """The end of one connection, from the last answer on. `timer` is that of the client's next input.

    Attributes:
        ended: no more requests are taken, and input is dropped: the last answer is written, or the connection
            is lost, or handed over to the WebSocket protocol.
        half_closed: the client has closed its sending side, and is still to get an answer.
        dropped: bytes of input that were dropped; to be set to 0 with each answer.
    """

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    timer: WaitTimer
    writer: ResponseWriter
    flow: FlowControl
    ended: bool = False
    half_closed: bool = False
    dropped: int = 0
    _look: asyncio.TimerHandle | None = None
    _until: float = 0.0

    @property
    def open(self) -> bool:
        """True while requests are taken."""
        return not self.ended and not self.transport.is_closing()

    def linger(self) -> None:
        """Closes the sending side; input is to be given to `drop` from then on (Rule 1)."""
        if not self.open:
            return
        self.ended = True
        self.dropped = 0
        self.flow.release()
        self.flow.want(True)
        self.writer.flush()
        if self.half_closed:
            self.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._until = self.loop.time() + _LINGER_TIME
        self.timer.begin(Wait.HANG_UP, _LINGER_QUIET)

    def drop(self, count: int) -> None:
        """Counts input that is dropped, behind the last answer or an early one."""
        self.dropped += count
        left = self._until - self.loop.time()
        if not self.ended:
            if self.dropped > DRAIN:
                self.linger()
        elif left <= 0 or self.dropped > _LINGER_BYTES:
            self.close()
        else:
            self.timer.begin(Wait.HANG_UP, min(left, _LINGER_QUIET))

    def close(self) -> None:
        """Closes once the client has read all output, within the write timeout."""
        self.timer.stop()
        self.writer.flush()
        self.transport.close()
        self.flow.expect_reading()

    def half_close(self) -> None:
        """Notes that the client sends no more, and is still to get an answer (Rule 2)."""
        self.half_closed = True
        self._look = self.loop.call_later(_FIRST_LOOK, self._look_for_client, self.writer.begun)

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
        if gone or (unsure and self.writer.endless):
            self.transport.abort()
        else:
            self._look = self.loop.call_later(_LOOK, self._look_for_client, unsure)

    def over(self) -> None:
        """Ends all waits: the connection is lost, or another protocol's."""
        self.ended = True
        self.timer.stop()
        self.flow.stop()
        if self._look is not None:
            self._look.cancel()
            self._look = None
