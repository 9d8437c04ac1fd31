"""An event loop that turns when it is told to, by a clock that is told too, and wires without sockets.

What runs on it is the same each time, byte for byte.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from types import SimpleNamespace
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")

_MOST_TURNS = 2000
_BUFFERED = 1 << 16


class HandLoop(asyncio.AbstractEventLoop):
    """Callbacks, timers, tasks; no files and no threads."""

    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> Any:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers stay until their time."""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Makes it the running loop."""
        former = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(former)

    def settle(self) -> None:
        """Turns until nothing is ready."""
        turns = 0
        while self._ready:
            turns += 1
            assert turns < _MOST_TURNS, "it turns for ever"
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()

    def advance(self, seconds: float) -> None:
        """Lets time pass, timer by timer."""
        until = self._now + seconds
        self.settle()
        while self._timers and self._timers[0][0] <= until:
            when, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self._now = max(self._now, when)
                self._ready.append(handle)
                self.settle()
        self._now = until

    @property
    def timers(self) -> int:
        """The number of timers that would still ring."""
        return sum(not handle.cancelled() for _, _, handle in self._timers)


class Wire(asyncio.Transport):
    """One end of a connection: what is written to it is kept, what comes on it is fed."""

    def __init__(self, loop: HandLoop, peer: str = "127.0.0.1") -> None:
        super().__init__()
        self.loop = loop
        self.protocol: Any = None
        self.written = bytearray()
        self.slow = False  # the other end does not read
        self.full = False
        self.over = False
        self.lost = False
        self.aborted = False
        self._peer = peer
        self._inbox: deque[bytes | None] = deque()
        self._paused = False
        self.said_eof = False

    # What the protocol does.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket" and self._peer == "":
            return SimpleNamespace(family=1)  # a Unix socket, which has no TCP options
        return (self._peer, 1) if name in {"peername", "sockname"} else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.said_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.over or not data:
            return
        self.written += data
        if self.slow and not self.full:
            self.full = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.said_eof = True

    def get_write_buffer_size(self) -> int:
        return _BUFFERED if self.full else 0

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        if not self.over:
            self.over = True
            if not self.full:
                self.loop.call_soon(self.lose, None)

    def abort(self) -> None:
        self.over = self.aborted = True
        self.loop.call_soon(self.lose, None)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self.loop.call_soon(self._pump)

    # What happens to it.

    def feed(self, data: bytes | None) -> None:
        """Bytes come in, or their end (None)."""
        self._inbox.append(data)
        self._pump()

    def _pump(self) -> None:
        while self._inbox and not self._paused and not self.over:
            data = self._inbox.popleft()
            if data is None:
                if self.protocol.eof_received():  # it stays open for what is to be sent
                    self._inbox.clear()
                    return
                self.close()
            else:
                self.protocol.data_received(data)

    def drain(self) -> None:
        """The other end has read everything."""
        self.slow = False
        if self.full:
            self.full = False
            if not self.lost:
                self.protocol.resume_writing()
            if self.over:
                self.loop.call_soon(self.lose, None)

    def lose(self, error: Exception | None) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = self.over = True
            self.protocol.connection_lost(error)
