"""WebSockets at the front door: how a connection is handed over; uvicorn's protocol with its waits bounded.

Rule 1: what the front door has judged is all that the WebSocket protocol is given: nothing may come behind
the head before it is answered (RFC 6455 4.1).
Rule 2: every wait has an end: for a client that reads nothing, or does not answer a close.
Rule 3: an abnormal end is told from a clean one (1006, RFC 6455 7.1.5).
Rule 4: at a stop each socket gets its close frame (1012: come back), one in the middle of its handshake too.
"""

import asyncio
from typing import Any, Protocol, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent  # what they take and give
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from bff.errors import Problem
from bff.proxy.server.request_parser import Head, Refusal
from bff.proxy.server.response_writer import last_word, reset

GOING_AWAY, ABNORMAL, SERVICE_RESTART = 1001, 1006, 1012
_SWITCHING = 101

_LINGER = 2.0
"""How long a client may take to hang up after our last word, in seconds."""

_TURN = 8 * 1024
"""The number of bytes that are parsed in one turn of the loop: a thousand of the smallest frames."""


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
        self._ended = False
        self._stopping = False  # while the handshake is not answered yet
        self._waiting = bytearray()  # read, and not yet parsed

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
        if self._failed:
            return
        if self.handshake_initiated and not self.handshake_complete:
            self._fail_handshake()
        elif self._waiting:
            self._waiting += data
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Takes so much of it as is parsed in one turn: a frame of one byte costs as much as a large one."""
        if (
            len(data) <= _TURN or not self.handshake_initiated
        ):  # the head, which the request parser has bounded
            super().data_received(data)
            return
        super().data_received(data[:_TURN])
        self._waiting += memoryview(data)[_TURN:]
        self.transport.pause_reading()
        if not self.read_paused:
            self.loop.call_soon(self._feed_on)

    def _feed_on(self) -> None:
        """Takes the next part of what was read."""
        if self._failed or self.disconnected:
            self._waiting.clear()
        if not self._waiting:
            return
        part = bytes(self._waiting[:_TURN])
        del self._waiting[:_TURN]
        super().data_received(part)
        if not self._waiting:
            if self._ended:
                self.transport.close()
            elif not self.read_paused:
                self.transport.resume_reading()
        elif not self.read_paused:
            self.loop.call_soon(self._feed_on)

    async def receive(self) -> ASGIReceiveEvent:
        """The next message; when all of a part are taken the next part has its turn."""
        message = await super().receive()
        if self._waiting and self.queue.empty() and not self.disconnected:
            self.transport.pause_reading()
            self.loop.call_soon(self._feed_on)
        return message

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's closes at once
        """The client sends no more; True while something that it sent waits for its turn."""
        self._ended = True
        return bool(self._waiting)

    def _fail_handshake(self) -> None:
        """Bytes came before the handshake was answered (RFC 6455 4.1): they are none of a WebSocket's."""
        self._failed = True
        if self.initial_response is not None:  # its answer is under way, and is the last
            return
        refusal = Refusal(Problem.BAD_REQUEST, "bytes before the handshake was answered")
        self.transport.write(last_word(refusal, self.default_headers, None))
        self.queue.put_nowait({"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""})
        self.close_sent = self.handshake_complete = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._hang_up_soon()

    def handle_parser_exception(self) -> None:
        """The client broke the protocol or a limit: say so, and let it hang up."""
        self._failed = True
        closed = self.conn.close_sent
        assert closed is not None
        self.queue.put_nowait({"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason})
        self._close_sent()
        if self.transport.can_write_eof():  # its answer would not be read
            self.transport.write_eof()

    def drain(self) -> None:
        """The server is about to stop; a socket ends at no time of its own, so that it is closed now."""
        if not self.close_sent:
            self.shutdown()

    def shutdown(self) -> None:
        """The server stops: the socket is closed with 1012, once its handshake has been answered (Rule 4)."""
        if self.close_sent:
            super().shutdown()
        elif not self.handshake_complete:
            self._stopping = True
        else:
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY, "reason": ""})
            self.conn.send_close(SERVICE_RESTART)
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
        elif self._stopping and self.handshake_complete:
            self._stopping = False
            self.shutdown()

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
        if self._waiting:  # the client's answer to a close may be in it
            self.loop.call_soon(self._feed_on)

    def _stop_watch(self) -> None:
        if self._write_watch is not None:
            self._write_watch.cancel()
            self._write_watch = None
