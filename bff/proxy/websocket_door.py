"""WebSockets at the front door: how a connection is handed over; uvicorn's protocol with its waits bounded.

Rule 1: what the front door has judged is all that the WebSocket protocol is given: nothing may come behind
the head before it is answered (RFC 6455 4.1).
Rule 2: every wait has an end: for a client that reads nothing, or does not answer a close.
Rule 3: an abnormal end is told from a clean one (1006, RFC 6455 7.1.5).
"""

import asyncio
from typing import Any, Protocol, cast

from uvicorn._types import ASGISendEvent  # what `send` takes
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from bff.errors import Problem
from bff.proxy.front_door import Head, Refusal
from bff.proxy.outlet import reset

GOING_AWAY, ABNORMAL = 1001, 1006
_SWITCHING = 101

_LINGER = 2.0
"""How long a client may take to hang up after our last word, in seconds."""


class _Taker(Protocol):
    handshake_initiated: bool


class UpgradingProtocol(HttpToolsProtocol):
    """What the guarded protocol does for an upgrade."""

    handed_over = False
    _write_watch: asyncio.TimerHandle | None = None

    def hand_over(self, head: Head, early: bytes) -> Refusal | None:
        """Gives the connection to the WebSocket protocol; or says why not."""
        malformed = Refusal(Problem.BAD_REQUEST, "malformed upgrade")
        if self.ws_protocol_class is None or not self._should_upgrade() or head.method != b"GET" or early:
            return malformed
        lines = [b"GET %b HTTP/1.1\r\n" % self.url]
        lines += [b"%b: %b\r\n" % header for header in self.headers]
        taker: Any = self.ws_protocol_class(  # type: ignore[call-arg] # uvicorn's own, or one derived from it
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        taker.connection_made(self.transport)
        taker.data_received(b"".join([*lines, b"\r\n"]))
        if not cast(
            "_Taker", taker
        ).handshake_initiated:  # the library, which has limits of its own, refuses it
            self.connections.discard(taker)
            return malformed
        self.handed_over = True
        self.connections.discard(self)
        if self._write_watch is not None:
            self._write_watch.cancel()
        self.transport.set_protocol(taker)
        return None


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """One client's WebSocket. `write_timeout` is how long it may read nothing, in seconds."""

    write_timeout = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._write_watch: asyncio.TimerHandle | None = None
        self._failed = False

    def handle_connect(self, event: Request) -> None:
        """The handshake has been read; one that the library refuses is left to the front door to answer."""
        if self.conn.accept(event).status_code == _SWITCHING:
            super().handle_connect(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; without a close on either side that is no clean end."""
        self._stop_watch()
        if self.handshake_complete and not self.close_sent and self.conn.close_rcvd is None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came in; behind a mistake they are thrown away, so that the close is not lost to a reset."""
        if not self._failed:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """The client broke the protocol or a limit: say so, and let it hang up."""
        self._failed = True
        closed = self.conn.close_sent
        assert closed is not None
        self.queue.put_nowait({"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason})
        self._close_sent()
        if self.transport.can_write_eof():  # its answer would not be read
            self.transport.write_eof()

    def shutdown(self) -> None:
        """The server stops: the socket is closed with 1001."""
        if not self.handshake_complete or self.close_sent:
            super().shutdown()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY, "reason": ""})
        self.conn.send_close(GOING_AWAY)
        self._close_sent()

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping."""
        super().keepalive_timeout()
        self._hang_up_soon()

    async def send(self, message: ASGISendEvent) -> None:
        """Takes a message of the application's, once the client has read enough of what went before."""
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)
        if self.close_timer is not None:
            self._hang_up_soon()
        elif self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # or uvicorn takes the answer for none, and logs an error

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        if self._write_watch is None:
            self._write_watch = self.loop.call_later(self.write_timeout, reset, self.transport)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._stop_watch()

    def _close_sent(self) -> None:
        """A close of ours is in the output: the client answers it, or is dropped."""
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._hang_up_soon()

    def _hang_up_soon(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(_LINGER, reset, self.transport)

    def _stop_watch(self) -> None:
        if self._write_watch is not None:
            self._write_watch.cancel()
            self._write_watch = None
