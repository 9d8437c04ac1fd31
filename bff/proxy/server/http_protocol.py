"""The server protocol: one client's connection, for uvicorn's `http=`.

Of uvicorn it uses the arguments of a protocol class (config, server state, lifespan state) and nothing else.

Rule 1: one request at a time: pipelined requests wait unparsed until the answer before it is
complete, so that answers come in order and a lost connection is known to the call that it concerns.
Rule 2: every wait has an end: for a head, for a body, for a client that reads nothing or is to hang up.
Rule 3: a refusal is problem+json and ends the connection; after a final answer nothing more is said.
"""

import asyncio
from typing import Any

from bff.errors import Problem
from bff.policy.chunked_body import ChunkedContent, FramingError, LengthContent
from bff.policy.fields import Header
from bff.policy.request_limits import RequestLimits
from bff.policy.request_refusal import Refusal, Refused, bad_request
from bff.proxy.forward.current_app import STATE, CurrentApp
from bff.proxy.forward.fast_path import FastCall
from bff.proxy.forward.forward_auth import ForwardAuthCall
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.server.asgi_bridge import AsgiBridge, asgi_scope, connection_scope, start
from bff.proxy.server.closing import DRAIN, Closing
from bff.proxy.server.flow_control import FlowControl
from bff.proxy.server.request_parser import Head, RequestParser
from bff.proxy.server.reset import reset
from bff.proxy.server.response_writer import ResponseWriter, last_word
from bff.proxy.server.timers import NOTHING, REQUEST, Wait, WaitTimer, too_late

MOST_HEADS = 32
"""The number of pipelined requests that are taken in one turn of the loop."""


class HttpServerProtocol(asyncio.Protocol):
    """One client's connection. Subclasses made by `client_protocol` carry the limits."""

    limits: RequestLimits
    refused: Refused | None = None
    transport: asyncio.Transport

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_event_loop()
        self._in_force: CurrentApp | None = app_state.get(STATE)
        self._keep_alive: float = config.timeout_keep_alive
        self._timer = WaitTimer(self._loop, self._late)  # for the client's next input
        self._parser = RequestParser(self.limits)
        self._ready = False  # nothing is under way: the next request may take the fast path
        self._body: LengthContent | ChunkedContent | None = None  # of which more is to come
        self._fast: FastCall | None = None  # under way
        self._call: ForwardedCall | ForwardAuthCall | AsgiBridge | None = None  # under way
        self._draining = False  # the next answer is the last one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # a stream's
        """Begins a connection; a client that sends nothing is treated like an idle one."""
        self.transport = transport
        self._server.connections.add(self)
        self._scope = connection_scope(self._config, transport, self._app_state)
        self._peer = self._scope["client"][0] if self._scope["client"] else "unknown"
        self._writer = ResponseWriter(transport, self._loop, self._server)
        self._flow = FlowControl(transport, self._loop, self.limits.write_timeout)
        self._closing = Closing(transport, self._loop, self._timer, self._writer, self._flow)
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        """Ends the call under way: the connection is lost."""
        self._end()
        self._interrupt()
        self._client_gone()

    def data_received(self, data: bytes) -> None:
        """Takes bytes: most often one whole request with nothing to wait for."""
        if self._ready and self._in_force is not None:
            self._ready = False
            self._timer.wait = NOTHING
            request = (in_force := self._in_force).lines.read(data)
            if request is not None:
                place = request.place
                fast_path = place.fast_path or in_force.fast_path_of(place.host, request.path)
                call = self._fast = fast_path.begin(request, self._peer, self)
                if call is not None:
                    call.send()
                    return
                self._begin(request.head())
                data = request.body
        if self._closing.ended:
            self._closing.drop(len(data))
        elif self._flow.held:
            self._flow.hold(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Takes the heads and bodies in these bytes; some at a time, so that others have their turn."""
        heads = 0
        while data and self._closing.open:
            body, turn_over = self._body, False
            if body is not None:
                data = self._take_body(body, data)
                turn_over = bool(data) and self._body is body
            elif heads == MOST_HEADS or self._answering() or self._flow.write_paused:
                turn_over = True
            else:
                heads += 1
                data = self._take_head(data)
            if turn_over:
                self._flow.hold(data)
                self._loop.call_soon(self._go_on)
                break
        self._settle()

    def _go_on(self) -> None:
        """Takes the bytes that were held, if their turn has come."""
        may = self._body is not None or not (self._answering() or self._flow.write_paused)
        if self._flow.held and may and self._closing.open:
            self._take(self._flow.release())

    def _answering(self) -> bool:
        return self._call is not None or self._fast is not None

    def _settle(self) -> None:
        """Sets the present wait, after each batch of bytes and each answer."""
        self._ready = False
        if not self._closing.open:
            return
        wait = self._timer.wait
        if self._body is not None:
            if wait is not Wait.BODY:
                self._timer.begin(Wait.BODY, self.limits.body_timeout)
        elif self._parser.begun:
            if wait is not Wait.HEAD:
                self._timer.begin(Wait.HEAD, self.limits.head_timeout)
        elif not (self._answering() or self._flow.held):
            self._ready = self._parser.fresh and not (self._flow.write_paused or self._draining)
            if wait is not Wait.REQUEST:
                self._timer.begin(Wait.REQUEST, self._keep_alive)

    def _take_head(self, data: bytes) -> bytes:
        limits = self.limits if self._in_force is None else self._in_force.lines.limits
        self._parser.follow(limits, websocket=self._config.ws_protocol_class is not None)
        try:
            found = self._parser.feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
            return b""
        if found is None:
            return b""
        head, rest = found
        if head.upgrade:
            self._hand_over(head, rest)
            return b""
        self._begin(head)
        return rest

    def _begin(self, head: Head) -> None:
        """Begins a request: it is forwarded, or goes to the application."""
        self._timer.wait = Wait.NOTHING
        if head.length != 0:
            self._body = ChunkedContent() if head.length is None else LengthContent(head.length)
        self._writer.begin(head, last=self._draining)
        call = self._call = None if self._in_force is None else self._in_force.call(head, self._peer, self)
        if call is not None:
            call.begin()
            return
        scope = asgi_scope("http", head, self._scope)
        self._call = bridge = AsgiBridge(self, scope, bodyless=head.length == 0)
        start(bridge.run(self._config.loaded_app), self._loop, self._server.tasks)

    def _take_body(self, body: LengthContent | ChunkedContent, data: bytes) -> bytes:
        call = self._call
        self._timer.begin(Wait.BODY, self.limits.body_timeout)
        try:
            content, taken = body.take(data)
        except FramingError as error:
            self._fail(bad_request(str(error)))
            return b""
        if call is None:  # it was answered before its end
            self._closing.drop(taken)
        elif content:
            call.body(content)
        if body.over:
            self._body = None
            if self._timer.wait is Wait.BODY:
                self._timer.wait = Wait.NOTHING
            if call is not None and call is self._call:
                call.body_end()
        return data[taken:]

    def _hand_over(self, head: Head, early: bytes) -> None:
        """Gives the connection to the WebSocket protocol."""
        protocol = self._config.ws_protocol_class(self._config, self._server, self._loop)
        # Nothing may come behind the head before it is answered (RFC 6455 4.1).
        if early or not protocol.take_over(self.transport, head, self._scope):
            self._refuse(bad_request("malformed upgrade"))
            return
        self._end()
        self.transport.set_protocol(protocol)

    # The answer: the client's side of a call

    def pass_on(self, status: int, lines: list[bytes] | None, content: bytes | memoryview) -> None:
        """Writes a part of the answer to a call on the fast path."""
        self._writer.part(status, lines, content)

    def deliver(self, status: int, lines: list[bytes] | None, content: bytes | memoryview) -> None:
        """Writes the last part of such an answer, or all of it."""
        self._fast = None
        self._writer.part(status, lines, content)
        self._server.total_requests += 1
        if (flow := self._flow).held or flow.write_paused:
            self._go_on()
            self._settle()
        else:
            self._timer.begin(REQUEST, self._keep_alive)
            self._ready = True

    def fell_back(self, call: ForwardedCall, *, begun: bool) -> None:
        """Replaces the call on the fast path by this one; `begun` where the head of its answer is written."""
        self._fast = None
        self._call = call
        self._writer.begin(None, last=self._draining and not begun)
        self._writer.begun = begun

    def send_head(self, status: int, headers: list[Header]) -> None:
        """Begins the answer; an error before a long rest of the request's body ends the connection."""
        if status >= Problem.BAD_REQUEST.status and self._long_rest():
            self._writer.keep_alive = False
        self._writer.head(status, headers)

    def send_data(self, chunk: bytes) -> None:
        """Writes a piece of the content."""
        self._writer.data(chunk)

    def send_end(self) -> None:
        """Ends the answer; the connection goes on to the next request, or ends."""
        self._writer.end()
        self._call = None
        self._server.total_requests += 1
        if not self._closing.open:
            return
        self._closing.dropped = 0
        self._flow.want(True)
        if not self._writer.keep_alive and self._body is None and not self._flow.held:
            self._closing.close()
        elif not self._writer.keep_alive or self._long_rest():
            self._closing.linger()
        else:
            self._go_on()
            if self._closing.half_closed and not (self._answering() or self._flow.held):
                self._closing.close()
            self._settle()

    def abort(self) -> None:
        """Breaks the answer off: the client sees that it is incomplete."""
        self._call = None
        self._writer.break_off()

    def close_after_answer(self) -> None:
        """Ends the connection after this answer."""
        self._writer.keep_alive = False

    def pause_request(self) -> None:
        """Stops reading the request's body."""
        self._flow.want(False)

    def resume_request(self) -> None:
        """Goes on reading the body, and tells a client that waits for it to go ahead."""
        if self._writer.awaited:
            self._writer.go_ahead()
        self._flow.want(True)

    def _long_rest(self) -> bool:
        """Returns true if more of the request's body is to come than is worth reading."""
        return isinstance(self._body, LengthContent) and self._body.left > DRAIN

    def _refuse(self, refusal: Refusal) -> None:
        """Answers with a problem, and hangs up. No answer has begun."""
        self.transport.write(last_word(refusal, self._server.default_headers))
        if self.refused is not None:
            self.refused(refusal, self._peer)
        self._closing.linger()

    def _fail(self, refusal: Refusal) -> None:
        """Refuses a request under way that cannot be completed, and ends its call."""
        if self._call is None:
            self._closing.linger()
        elif self._writer.begun:
            reset(self.transport)
        else:
            if self._writer.bodyless:
                refusal.head = b"HEAD "
            self._refuse(refusal)
            self._client_gone()

    def _client_gone(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.client_gone()

    def _interrupt(self) -> None:
        """Has a call on the fast path fall back before an event that the forwarder has to handle."""
        if self._fast is not None:
            self._fast.interrupt()

    # Waits and ends

    def _late(self, wait: Wait) -> None:
        refusal = too_late(wait)
        if refusal is None:  # the wait for the next request, or for the client to hang up
            self._closing.close()
        elif wait is Wait.HEAD:
            self._refuse(refusal)
        elif self._flow.read_paused or self._writer.awaited:
            self._timer.begin(Wait.BODY, self.limits.body_timeout)  # the client waits for us
        else:
            self._fail(refusal)

    def pause_writing(self) -> None:
        """Pauses the answer: the client reads more slowly than we write."""
        self._flow.pause_writing()
        self._ready = False
        self._interrupt()
        if self._call is not None:
            self._call.pause_answer()

    def resume_writing(self) -> None:
        """Lets the answer go on: the client has caught up."""
        self._flow.resume_writing()
        if self._call is not None:
            self._call.resume_answer()
        self._go_on()
        self._settle()

    def drain(self) -> None:
        """Makes the next answer the last one, which says so. Calling it again is harmless.

        An idle connection stays: a reverse proxy repeats no POST that met its close (RFC 9112 9.3.1). An
        answer whose head has left is not the last: its client has been promised another. Event streams end.
        """
        if self._draining:
            return
        self._draining, self._ready = True, False
        self._interrupt()
        self._end_streams()
        if not self._writer.begun:
            self._writer.keep_alive = False

    def shutdown(self) -> None:
        """Closes an idle connection now, a busy one after its answer, because the server stops."""
        self._interrupt()
        if self._call is not None:
            self._writer.keep_alive = False
        else:
            self._closing.close()
        self._end_streams()

    def _end_streams(self) -> None:
        if self._in_force is not None:
            self._in_force.app.context.event_streams.whole.stop()

    def eof_received(self) -> bool:
        """Returns true, to keep the connection, where a client that sends no more gets an answer yet."""
        if self._closing.half_closed:  # reading went on, to find the same end
            return not self.transport.is_closing()
        self._interrupt()
        if not self._closing.open or self._body is not None or not (self._call or self._flow.held):
            return False
        if not self._flow.held:
            self._writer.keep_alive = False
        if self._call is not None:
            self._writer.go_ahead()
        self._closing.half_close()
        return True

    def _end(self) -> None:
        """Lets the connection go, which is no longer this protocol's."""
        self._ready = False
        self._flow.held = b""
        self._server.connections.discard(self)
        self._closing.over()
