"""The WebSocket protocol: one client's WebSocket, on the connection that the server protocol hands over.

The frames are the websockets library's to read and write (`websockets.protocol`); handshake, ASGI messages,
flow control and ends are here.

Rule 1: nothing may come behind the head before it is answered (RFC 6455 4.1).
Rule 2: every wait has an end: for a client that reads nothing, or does not answer a ping or a close.
Rule 3: an abnormal end is told from a clean one (1006, RFC 6455 7.1.5).
Rule 4: one message waits for the application; reading and parsing rest meanwhile.
Rule 5: at a stop each socket gets its close frame (1012: come back), one in the middle of its handshake too.
"""

import asyncio
import os
from enum import Enum, auto
from typing import Any

from starlette.types import Message
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side

from bff.errors import Problem
from bff.observe.logs import get_logger
from bff.policy.fields import Header
from bff.policy.request_refusal import bad_request
from bff.policy.websocket_handshake import handshake_of
from bff.problems import problem_response
from bff.proxy.server.asgi_bridge import asgi_scope, start
from bff.proxy.server.flow_control import FlowControl
from bff.proxy.server.request_parser import Head
from bff.proxy.server.reset import reset
from bff.proxy.server.response_writer import last_word, response_head
from bff.proxy.server.timers import Wait, WaitTimer

_FORBIDDEN = 403

_LINGER = 2.0
"""How long a client may take to hang up after our last word, in seconds."""

_TURN = 8 * 1024
"""The number of bytes that are parsed in one turn of the loop: a thousand of the smallest frames."""

_log = get_logger("bff.server")


class State(Enum):
    """The states of a client's WebSocket."""

    ASKED = auto()  # the handshake is not answered
    DENIED = auto()  # by an HTTP response whose content is still to come
    OPEN = auto()
    CLOSING = auto()  # our last word is written, or the connection is lost


class WebSocketServerProtocol(asyncio.Protocol):
    """One client's WebSocket. `write_timeout` is how long it may read nothing, in seconds."""

    write_timeout = 60.0
    transport: asyncio.Transport

    def __init__(self, config: Any, server_state: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._server = server_state
        self._loop = loop
        self._state = State.ASKED
        self._frames = Protocol(Side.SERVER, max_size=config.ws_max_size)
        self._timer = WaitTimer(self._loop, self._late)
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting = bytearray()  # read, and not yet parsed
        self._parsing = False  # the next part of it has its turn
        self._deaf = self._ended = self._stopping = False
        self._pieces: list[bytes] = []  # of a message
        self._is_text = False
        self._ping = b""
        self._denial: tuple[int, list[Header]] = _FORBIDDEN, []
        self._content = b""

    def take_over(self, transport: asyncio.Transport, head: Head, connection: dict[str, Any]) -> bool:
        """Takes the connection over for the application; returns False for a malformed handshake.

        `connection` is the part of the scope that is the connection's.
        """
        handshake = handshake_of(head.method, head.fields)
        if handshake is None:
            return False
        self.transport = transport
        self._flow = FlowControl(transport, self._loop, self.write_timeout)
        self._accept = handshake.accept
        self._server.connections.add(self)
        scope = {
            **asgi_scope("websocket", head, connection),
            "scheme": "wss" if connection["scheme"] == "https" else "ws",
            "subprotocols": handshake.subprotocols,
            "extensions": {"websocket.http.response": {}},
        }
        self._messages.put_nowait({"type": "websocket.connect"})
        start(self._run(scope), self._loop, self._server.tasks)
        return True

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._config.loaded_app(scope, self._receive, self._send)
        except OSError:  # the client has left
            pass
        except Exception:  # noqa: BLE001 - an application's mistake ends its own socket alone
            _log.exception("application_failed", path=scope["path"])
        finally:
            if self._state in {State.ASKED, State.DENIED}:
                self._answer(*problem_response(Problem.INTERNAL_ERROR))
            elif self._state is State.OPEN:
                self._close(CloseCode.INTERNAL_ERROR, "")

    # From the client

    def data_received(self, data: bytes) -> None:
        """Takes bytes; drops them behind a mistake, so that the close is not lost to a reset."""
        if self._deaf:
            return
        if self._state in {State.ASKED, State.DENIED}:
            self._deaf = True
            if self._state is State.ASKED:  # else its answer is under way, and is the last
                refusal = bad_request("bytes before the handshake was answered")
                self.transport.write(last_word(refusal, self._server.default_headers))
                self._say_last(CloseCode.ABNORMAL_CLOSURE, "")
            return
        self._waiting += data
        if not self._parsing:
            self._parse()

    def _parse(self) -> None:
        """Parses one turn's worth of input: a frame of one byte costs as much as a large one."""
        self._parsing = False
        if self._deaf:
            self._waiting.clear()
        elif self._waiting:
            part = bytes(self._waiting[:_TURN])
            del self._waiting[:_TURN]
            self._frames.receive_data(part)
            for event in self._frames.events_received():
                assert isinstance(event, Frame)
                self._take_frame(event)
            self._flush()
            if self._frames.parser_exc is not None:
                self._broken()
        self._adjust()

    def _adjust(self) -> None:
        """Parses on, reads on, or waits until the application has taken its message."""
        taken = self._messages.empty() or self._state is not State.OPEN
        if self._waiting and taken and not self._parsing and not self._deaf:
            self._parsing = True
            self._loop.call_soon(self._parse)
        elif not self._waiting and self._ended:
            self.transport.close()
        self._flow.want(self._deaf or (taken and not self._waiting))

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            if bytes(frame.data) == self._ping and self._timer.wait is Wait.PONG:
                self._ping_later()
        elif frame.opcode is Opcode.CLOSE:
            if self._state is State.OPEN:
                closed = self._frames.close_rcvd
                assert closed is not None
                self._tell(closed.code, closed.reason)
                self._state = State.CLOSING
                self._flush()
            self._hang_up()
        elif frame.opcode is not Opcode.PING:  # the library answers those
            self._take_piece(frame)

    def _take_piece(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._pieces.append(bytes(frame.data))
        if not frame.fin:
            return
        content = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        if self._state is not State.OPEN:  # the application listens no more
            return
        if not self._is_text:
            self._messages.put_nowait({"type": "websocket.receive", "bytes": content})
            return
        try:
            self._messages.put_nowait({"type": "websocket.receive", "text": content.decode()})
        except UnicodeDecodeError:
            self._frames.fail(CloseCode.INVALID_DATA)
            self._broken()

    def _broken(self) -> None:
        """The client broke the protocol or a limit: it is told, and nothing more of it is read."""
        self._deaf = True
        closed = self._frames.close_sent
        if self._state is State.OPEN and closed is not None:
            self._flush()
            self._say_last(closed.code, closed.reason)

    # The connection

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is lost: the application is told. Without a close before it that is no clean end."""
        del exc
        self._server.connections.discard(self)
        self._timer.stop()
        self._flow.stop()
        self._state, self._deaf = State.CLOSING, True
        self._tell(CloseCode.ABNORMAL_CLOSURE, "")
        self._writable.set()

    def eof_received(self) -> bool:
        """Returns true, to keep the connection, while something that the client sent waits for its turn."""
        self._ended = True
        return bool(self._waiting)

    def pause_writing(self) -> None:
        """Makes the application wait: the client reads slowly."""
        self._writable.clear()
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        """Lets the application go on: the client has caught up."""
        self._flow.resume_writing()
        self._writable.set()

    def drain(self) -> None:
        """Closes the WebSocket, because the server is about to stop: it has no end of its own to wait for."""
        if self._state is not State.CLOSING:
            self.shutdown()

    def shutdown(self) -> None:
        """Closes the WebSocket with 1012, once its handshake has been answered (Rule 5)."""
        if self._state is State.OPEN:
            self._tell(CloseCode.GOING_AWAY, "")
            self._close(CloseCode.SERVICE_RESTART, "")
        elif self._state is State.CLOSING:
            self.transport.close()
        else:
            self._stopping = True

    def _late(self, wait: Wait) -> None:
        if wait is Wait.PING:
            self._ping = os.urandom(4)
            self._frames.send_ping(self._ping)
            self._flush()
            self._timer.begin(Wait.PONG, self._config.ws_ping_timeout or self._config.ws_ping_interval)
        elif wait is Wait.PONG:
            self._frames.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self._broken()
            self._adjust()
        else:
            reset(self.transport)

    def _ping_later(self) -> None:
        if self._config.ws_ping_interval:
            self._timer.begin(Wait.PING, self._config.ws_ping_interval)

    # From the application

    async def _receive(self) -> Message:
        message = await self._messages.get()
        if self._messages.empty():
            self._adjust()
        return message

    async def _send(self, message: Message) -> None:
        await self._writable.wait()
        if self._state is State.CLOSING:
            raise ConnectionResetError("the WebSocket is closed")
        kind = message["type"]
        if self._state is State.OPEN and kind == "websocket.send":
            if (data := message.get("bytes")) is not None:
                self._frames.send_binary(data)
            else:
                self._frames.send_text(message["text"].encode())
            self._flush()
        elif self._state is State.OPEN and kind == "websocket.close":
            code, reason = message.get("code") or CloseCode.NORMAL_CLOSURE, message.get("reason") or ""
            self._tell(code, reason)
            self._close(code, reason)
        elif self._state is State.ASKED and kind == "websocket.accept":
            self._open(message.get("subprotocol"), message.get("headers") or [])
        elif self._state is State.ASKED and kind == "websocket.close":
            self._answer(_FORBIDDEN, [(b"content-length", b"0")], b"")
        elif self._state is State.ASKED and kind == "websocket.http.response.start":
            self._state = State.DENIED
            self._denial = message["status"], list(message.get("headers", []))
        elif self._state is State.DENIED and kind == "websocket.http.response.body":
            self._content += message.get("body", b"")
            if not message.get("more_body", False):
                self._answer(*self._denial, self._content)
        else:
            raise RuntimeError(f"unexpected {kind}")

    def _open(self, subprotocol: str | None, headers: list[Header]) -> None:
        fields = [
            *self._server.default_headers,
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", self._accept),
            *headers,
        ]
        if subprotocol:
            fields.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
        self._state = State.OPEN
        self.transport.write(response_head(101, fields, b"\r\n"))
        if self._stopping:
            self.shutdown()
        else:
            self._ping_later()

    def _answer(self, status: int, headers: list[Header], body: bytes) -> None:
        """Answers the handshake with an HTTP response."""
        fields = [*self._server.default_headers, *headers]
        if not any(name.lower() == b"content-length" for name, _ in fields):
            fields.append((b"content-length", b"%d" % len(body)))
        self.transport.write(response_head(status, fields) + body)
        self._tell(CloseCode.ABNORMAL_CLOSURE, "")
        self._state = State.CLOSING
        self._hang_up()

    def _hang_up(self) -> None:
        """Closes once the client has read all output."""
        self.transport.close()
        self._timer.begin(Wait.HANG_UP, self.write_timeout)

    def _close(self, code: int, reason: str) -> None:
        """Closes with this code; a client that does not answer is dropped."""
        self._frames.send_close(code, reason)
        self._flush()
        self._state = State.CLOSING
        self._timer.begin(Wait.HANG_UP, _LINGER)
        self._adjust()

    def _say_last(self, code: int, reason: str) -> None:
        """Drops input until the client hangs up: the last word is written."""
        self._tell(code, reason)
        self._state = State.CLOSING
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer.begin(Wait.HANG_UP, _LINGER)

    def _tell(self, code: int, reason: str) -> None:
        """Tells the application that the WebSocket is closed; the first reason counts."""
        self._messages.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    def _flush(self) -> None:
        output = b"".join(self._frames.data_to_send())
        if output and not self.transport.is_closing():
            self.transport.write(output)
