"""The guarded protocol: uvicorn's httptools protocol behind a front door that lets nothing doubtful in.

Rule 1: the parser is fed whole heads, and never a byte beyond the message it is in: where a message ends is
found by `front_door`, and a parser that disagrees is an error.
Rule 2: one request at a time: what a client has pipelined waits unparsed until the answer before it is
complete, so that answers come in order and a lost connection is known to the one it concerns.
Rule 3: every wait has an end: for a head, for a body, for a client that reads nothing or is to hang up.
Rule 4: a refusal is problem+json and ends the connection; what still arrives is read and thrown away for a
while, so that the answer is not lost to a reset (`bff.proxy.server.closing`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from bff.errors import Problem
from bff.proxy.forward.asgi_call import OWN_SERVER
from bff.proxy.server.closing import ClosingProtocol
from bff.proxy.server.request_parser import (
    ChunkedBody,
    FramingError,
    Head,
    LengthBody,
    Refusal,
    RequestLimits,
    RequestParser,
    judge_fields,
    own_form,
)
from bff.proxy.server.response_writer import ResponseTransport, close_delimited, last_word, reset

MOST_HEADS = 32
"""The number of pipelined requests that are taken in one turn of the loop."""

_MAX_HELD = 1024 * 1024
"""How much pipelined input may wait, in bytes; reading is paused long before."""

Refused = Callable[[Refusal, str], None]
"""Told of each refusal and the peer's address, for the log and the metric."""


class GuardedHttpProtocol(ClosingProtocol):
    """One client connection. Subclasses made by `guarded_protocol` carry the rules."""

    door: RequestLimits
    refused: Refused | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader = RequestParser(self.door.max_head_bytes, self.door.max_head_fields)
        self._head: Head | None = None
        self._head_open = False
        self._verdict: int | Refusal | None = 0
        self._message_over = False
        self._body: LengthBody | ChunkedBody | None = None  # of the request under way
        self._held = b""
        self._content: list[bytes] = []
        self._idle_until: float | None = None
        self._last_data = 0.0
        self._read_watch: asyncio.TimerHandle | None = None
        self._write_watch: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """A client has connected; one that says nothing is treated like an idle one."""
        super().connection_made(transport)
        self._outlet = ResponseTransport(transport, self.loop, self._hang_up, self._amend)
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._held = b""
        self._stop_read_watch()
        if self._write_watch is not None:
            self._write_watch.cancel()
            self._write_watch = None
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        self._unset_keepalive_if_required()
        if self._lingering:
            self._throw_away(len(data))
        elif self._held:
            self._hold(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        heads = 0
        while data and not self._lingering and not self.transport.is_closing():
            if self._body is not None:
                data = self._take_body(self._body, data)
                if data and self._body is not None:
                    self._end_turn(data)
                    break
            elif self._answering() or self.flow.write_paused:
                self._hold(data)
                return
            else:
                if heads == MOST_HEADS:
                    self._end_turn(data)
                    break
                heads += 1
                data = self._take_head(data)
        self._settle()

    def _end_turn(self, data: bytes) -> None:
        """Leaves the rest of a read for the loop's next turn: others have theirs first."""
        self._held = data
        self.transport.pause_reading()  # not by `flow`: whether a request's body is wanted is told by that
        self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        if self.transport.is_closing():
            return
        if not self.flow.read_paused:
            self.transport.resume_reading()
        if self._held and not self._lingering:
            held, self._held = self._held, b""
            self._take(held)

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _MAX_HELD:
            reset(self.transport)
        else:
            self.flow.pause_reading()

    # A request's head

    def _take_head(self, data: bytes) -> bytes:
        found = self._reader.feed(data)
        if found is None:
            return b""
        self._stop_read_watch()
        if isinstance(found, Refusal):
            self._head = None
            self._refuse(found)
            return b""
        head, rest = found
        judged = own_form(head, self.door)
        if isinstance(judged, Refusal):
            self._head = head
            self._refuse(judged)
            return b""
        self._head = judged
        self._head_open, self._message_over, self._verdict = True, False, 0
        try:
            self.parser.feed_data(self._head.raw)
        except httptools.HttpParserUpgrade:
            if not isinstance(self._verdict, Refusal):
                if (refusal := self.hand_over(self._head, rest)) is not None:
                    self._fail(refusal)
                return b""
        except httptools.HttpParserError as error:
            self._parser_error(error)
            return b""
        if isinstance(self._verdict, Refusal):
            self._refuse(self._verdict)
        elif self._verdict is None:
            self._body = ChunkedBody()
        elif self._verdict:
            self._body = LengthBody(self._verdict)
        if self._message_over is not (self._body is None):
            self._fail(Refusal(Problem.BAD_REQUEST, "ambiguous framing"))
        else:
            self._head_taken()
        return rest

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; trailers are dropped (RFC 9110 6.5.1)."""
        if self._head_open:
            self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is complete: the last judgement before the application sees it."""
        assert self._head is not None
        self._head_open = False
        self._verdict = judge_fields(
            self.headers,
            http_1_0=self._head.http_1_0,
            hosts=self.door.hosts,
            websocket=self.ws_protocol_class is not None,
        )
        if self._verdict.__class__ is Refusal:
            return
        if self._verdict != 0 and not self._head.http_1_0:
            self.expect_100_continue = any(name == b"expect" for name, _ in self.headers)
        self._dispatch()

    def _dispatch(self) -> None:
        """Hands a judged head to the application."""
        super().on_headers_complete()

    def _head_taken(self) -> None:
        """The parser is done with a head that was let in; `_body` tells what follows."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.transport = self._outlet  # type: ignore[assignment] # the three methods that a cycle uses
        cycle.scope["extensions"] = {OWN_SERVER: {}}
        if self.draining:
            cycle.keep_alive = False
        if cycle.scope["http_version"] == "1.0":
            app = close_delimited(app, cycle, self.transport)
        super()._start_asgi_task(cycle, app)

    # A request's body

    def _take_body(self, body: LengthBody | ChunkedBody, data: bytes) -> bytes:
        self._last_data = self.loop.time()
        answered = self.cycle.response_complete
        try:
            taken = body.take(data)
            self.parser.feed_data(data if taken == len(data) else data[:taken])
            self._pass_content()
        except FramingError as error:
            self._fail(Refusal(Problem.BAD_REQUEST, str(error)))
            return b""
        except httptools.HttpParserError as error:
            self._parser_error(error)
            return b""
        if body.over is not self._message_over:
            self._fail(Refusal(Problem.BAD_REQUEST, "ambiguous framing"))
            return b""
        if body.over:
            self._body = None
            self._stop_read_watch()
        if answered:
            self._throw_away(taken)
        return data[taken:]

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body: of many small chunks there are many in one read."""
        self._content.append(body)

    def _pass_content(self) -> None:
        """Hands on what one read has brought, in one piece."""
        content, self._content = self._content, []
        if content:
            self.take_content(content[0] if len(content) == 1 else b"".join(content))

    def take_content(self, content: bytes) -> None:
        """Takes one read's worth of the request's body."""
        super().on_body(content)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._pass_content()
        self._message_over = True
        if self._verdict.__class__ is not Refusal:
            super().on_message_complete()

    def _parser_error(self, error: httptools.HttpParserError) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):  # a mistake of ours, not the client's
            self.logger.error("The protocol failed on a request", exc_info=error.__context__)
        self._fail(Refusal(Problem.BAD_REQUEST, "malformed request"))

    # The answer

    def on_response_complete(self) -> None:
        """The answer has been written: go on with the rest of the body, or the next request."""
        self.server_state.total_requests += 1
        self._outlet.flush()
        if self._lingering or self.transport.is_closing():
            return
        if not self.half_closed:
            self.flow.resume_reading()
        self._wait_for_client()
        self._thrown_away = 0
        if self.long_rest():
            self._linger()
        else:
            self._go_on()
        if self.half_closed and not (self._answering() or self._held):
            self._close()

    def speaks_1_1(self) -> bool:
        """Whether the request under way is one whose client knows interim answers."""
        return self._head is not None and not self._head.http_1_0

    def _go_on(self) -> None:
        """Takes what was held: the answers before it are complete, and the client reads them."""
        if self._held and not self._answering() and not self.flow.write_paused:
            held, self._held = self._held, b""
            self.flow.resume_reading()
            self._unset_keepalive_if_required()
            self._take(held)

    def _refuse(self, refusal: Refusal) -> None:
        """Answers with a problem, and hangs up. No answer is under way."""
        self.transport.write(last_word(refusal, self.server_state.default_headers, self._head))
        if self.refused is not None:
            self.refused(refusal, self.client[0] if self.client else "unknown")
        self._linger()

    def _fail(self, refusal: Refusal) -> None:
        """The request under way cannot be completed: its application is told that the client has gone."""
        if self._lingering or self.transport.is_closing():
            return
        if not self._answering():
            self._refuse(refusal)
        elif self.cycle.response_started:
            reset(self.transport)
        else:
            self._refuse(refusal)
            self._client_gone()

    def _client_gone(self) -> None:
        """Tells the application of the request under way that there is nobody to answer."""
        self.cycle.waiting_for_100_continue = False  # nor would a 100 have a place behind the last word
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's own refusal, in our form."""
        self._fail(Refusal(Problem.BAD_REQUEST, msg))

    # The end of the connection

    def _wait_for_client(self) -> None:
        """Nothing is under way: the client has its time to say something. One timer serves a connection."""
        self._idle_until = until = self.loop.time() + self.timeout_keep_alive
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_at(until, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_until = None

    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection if nothing came for a while; else looks again when it could be so."""
        self.timeout_keep_alive_task = None
        until = self._idle_until
        if until is None or self.transport.is_closing() or self._answering() or self._held:
            return
        if self.loop.time() >= until:
            self._close()
        else:
            self.timeout_keep_alive_task = self.loop.call_at(until, self.timeout_keep_alive_handler)

    # Waits

    def _settle(self) -> None:
        """After each batch of bytes: sees to it that somebody watches the clock."""
        if self.handed_over or self._lingering or self.transport.is_closing():
            return
        if self._body is not None:
            if self._read_watch is None:
                self._last_data = self.loop.time()
                self._read_watch = self.loop.call_later(self.door.body_timeout, self._body_is_late)
        elif self._reader.begun:
            self._idle_until = None  # it may have been idle a moment ago, before an answer in this very batch
            if self._read_watch is None:
                self._read_watch = self.loop.call_later(self.door.head_timeout, self._head_is_late)
        elif self._idle_until is None and not self._answering():
            self._wait_for_client()

    def _head_is_late(self) -> None:
        self._read_watch = self._head = None
        self._refuse(Refusal(Problem.REQUEST_TIMEOUT, "the request's head took too long"))

    def _body_is_late(self) -> None:
        now = self.loop.time()
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._last_data = now  # it is we who make the client wait
        left = self._last_data + self.door.body_timeout - now
        if left > 0:
            self._read_watch = self.loop.call_later(left, self._body_is_late)
            return
        self._read_watch = None
        if self.cycle.response_complete:
            self._linger()
        else:
            self._fail(Refusal(Problem.REQUEST_TIMEOUT, "the request's body took too long"))

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        if self._write_watch is None:
            self._write_watch = self.loop.call_later(self.door.write_timeout, reset, self.transport)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._write_watch is not None and not self.transport.is_closing():
            self._write_watch.cancel()
            self._write_watch = None
        self._go_on()
