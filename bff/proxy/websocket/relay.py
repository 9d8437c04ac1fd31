"""The relay between two WebSockets: messages both ways, and the end of one side told to the other.

Rule 1: one message is under way in each direction; who reads slowly makes the other side wait (backpressure).
Rule 2: a close code passes unchanged where it may be sent at all (RFC 6455 7.4); an end without one gets one.
Rule 3: only the client's messages count as use of the session: a backend that talks keeps nobody signed in.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from starlette.types import Message, Receive, Send
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, CloseCode

from bff.policy.websocket_close_codes import SESSION_OVER, after_backend, passed_on
from bff.session.sessions import NoSession
from bff.tasks import Tasks

_LAST_WORD = 1.0  # seconds that the client's side may keep a close waiting
_GOING_AWAY = Close(CloseCode.GOING_AWAY, "")
_TOO_BIG = Close(CloseCode.MESSAGE_TOO_BIG, "")


class End(NamedTuple):
    """The end of a relay: the close that each side is told; None for the side that said so itself."""

    to_client: Close | None
    to_backend: Close | None


@dataclass(slots=True, eq=False, kw_only=True)
class WebSocketRelay:
    """A relay between a client's socket, which is open, and a backend's.

    Attributes:
        receive, send: the client's side, as ASGI has it.
        backend: the other side.
        max_message: bytes that a client's message may have; the backend's connection has its own limit.
        used: told of each message of the client's.
        tasks: where the two directions run.
    """

    receive: Receive
    send: Send
    backend: ClientConnection
    max_message: int
    used: Callable[[], None]
    tasks: Tasks
    _drained: asyncio.Future[None] = field(init=False, default_factory=asyncio.Future)

    def drain(self) -> None:
        """Closes both sides: the frontend is gone, or the socket's time is up. The client may come back."""
        if not self._drained.done():
            self._drained.set_result(None)

    async def run(self, first: asyncio.Future[Message], over: asyncio.Future[Any]) -> End:
        """Passes messages on until one side ends or `over` is done, and closes both; returns how.

        `first` is the client's first message, which was waited for already.
        """
        up = self.tasks.spawn(self._up(first), name="socket up")
        down = self.tasks.spawn(self._down(), name="socket down")
        end = End(_GOING_AWAY, _GOING_AWAY)  # for a cancellation
        try:
            end = await self._end(up, down, over)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.wait([up, down])
            await self._close(end)
        return end

    async def _end(
        self, up: asyncio.Task[End | None], down: asyncio.Task[End | None], over: asyncio.Future[Any]
    ) -> End:
        waiting: set[asyncio.Future[Any]] = {up, down, over, self._drained}
        while not waiting.isdisjoint({up, down}):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if over in done:
                what = "session" if isinstance(over.result(), NoSession) else "token"
                return End(Close(SESSION_OVER, f"the {what} has ended"), _GOING_AWAY)
            if self._drained in done:
                return End(_GOING_AWAY, _GOING_AWAY)
            for task in {up, down} & done:
                if (end := task.result()) is not None:
                    return end
        return End(None, _GOING_AWAY)

    async def _up(self, first: asyncio.Future[Message]) -> End | None:
        """Passes the client's messages on; returns None where the backend has ended, which `_down` tells."""
        message = await first
        while message["type"] == "websocket.receive":
            content = message["text"] if message.get("bytes") is None else message["bytes"]
            size = len(content)
            if isinstance(content, str) and size <= self.max_message:
                size = len(content.encode())
            if size > self.max_message:
                return End(_TOO_BIG, _GOING_AWAY)
            self.used()
            try:
                await self.backend.send(content)
            except ConnectionClosed:
                return None
            message = await self.receive()
        code, reason = message.get("code", CloseCode.NO_STATUS_RCVD), message.get("reason") or ""
        return End(None, passed_on(code, reason, lost=CloseCode.GOING_AWAY))

    async def _down(self) -> End | None:
        """Passes the backend's messages on; returns None where the client has gone, which `_up` tells."""
        try:
            while True:
                content = await self.backend.recv()
                kind = "text" if isinstance(content, str) else "bytes"
                await self.send({"type": "websocket.send", kind: content})
        except ConnectionClosed as closed:
            return End(after_backend(closed), None)
        except OSError:  # raised by ASGI servers once the client is gone
            return None

    async def _close(self, end: End) -> None:
        """Closes both sides; a client that is gone, or reads nothing, is left to the server."""
        if (close := end.to_client) is not None:
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(_LAST_WORD):
                    await self.send({"type": "websocket.close", "code": close.code, "reason": close.reason})
        if end.to_backend is not None:
            await self.backend.close(end.to_backend.code, end.to_backend.reason)
