"""Flow control of a client's connection: backpressure on its input, and on answers that it reads slowly.

Rule 1: input that has to wait is held, and no more is read until it was taken: a client that pipelines, or
uploads faster than a backend reads, fills no memory.
Rule 2: a client that reads nothing for the write timeout is reset.
"""

import asyncio
from dataclasses import InitVar, dataclass, field

from bff.proxy.server.reset import reset
from bff.proxy.server.timers import Wait, WaitTimer

_MAX_HELD = 1024 * 1024
"""The bytes of pipelined input that may wait; reading is paused long before."""


@dataclass(slots=True, eq=False)
class FlowControl:
    """The pauses of one connection, in both directions.

    Attributes:
        held: bytes that were read, and not yet taken.
        read_paused: reading rests.
        write_paused: the client has not read what was written to it.
    """

    transport: asyncio.Transport
    loop: InitVar[asyncio.AbstractEventLoop]
    write_timeout: float
    held: bytes = b""
    read_paused: bool = False
    write_paused: bool = False
    _unwanted: bool = False
    _unread: WaitTimer = field(init=False)

    def __post_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes the timer for a client that reads nothing."""
        transport = self.transport
        self._unread = WaitTimer(loop, lambda _: reset(transport))

    def hold(self, data: bytes) -> None:
        """Keeps these bytes behind those that are held."""
        self.held += data
        if len(self.held) > _MAX_HELD:
            reset(self.transport)
        else:
            self._adjust()

    def release(self) -> bytes:
        """Returns the bytes that were held."""
        held, self.held = self.held, b""
        self._adjust()
        return held

    def want(self, wanted: bool) -> None:
        """Reads on, or lets a body or messages wait."""
        self._unwanted = not wanted
        self._adjust()

    def _adjust(self) -> None:
        pause = bool(self.held) or self._unwanted
        if pause is not self.read_paused and not self.transport.is_closing():
            self.read_paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Notes that the client reads slowly; it has the write timeout to read on."""
        self.write_paused = True
        self._unread.begin(Wait.READING, self.write_timeout)

    def resume_writing(self) -> None:
        """Notes that the client has caught up."""
        self.write_paused = False
        if not self.transport.is_closing():
            self._unread.wait = Wait.NOTHING

    def expect_reading(self) -> None:
        """Gives a client that has not read all yet the write timeout; the connection closes behind it."""
        if self._unread.wait is Wait.NOTHING and self.transport.get_write_buffer_size():
            self._unread.begin(Wait.READING, self.write_timeout)

    def stop(self) -> None:
        """Ends the wait for the client: the connection is lost, or another protocol's."""
        self._unread.stop()
