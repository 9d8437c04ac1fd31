"""The lane: requests for configured routes answered inside uvicorn's protocol, without entering ASGI.

No task, no scope, no message dictionaries: the exchange is called as bytes arrive, and writes to the
client's transport. What is not for a configured route goes to the application, untouched.

Rule 1: whether a request goes by the lane is decided once, when its head is complete, by the same admission
as on the ASGI front.
Rule 2: the lane's cycle stands in for uvicorn's: `GuardedHttpProtocol` counts, times and ends both alike.
Rule 3: it leans on uvicorn's inner workings, which `tests/proxy/server/test_lane.py` pins.
"""

import asyncio
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bff.errors import Problem
from bff.policy.admission import Admitted, Denied, RequestHead
from bff.policy.fields import Fields
from bff.policy.routes import is_own
from bff.proxy.forward.context import ForwardingContext
from bff.proxy.forward.fast_path import FastCall, FastPath
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.response_templates import WholeResponse
from bff.proxy.server.closing import STATE
from bff.proxy.server.lane_response import LaneFastResponse, LaneResponse
from bff.proxy.server.protocol import GuardedHttpProtocol
from bff.proxy.server.request_parser import RequestLine
from bff.proxy.upstream.interfaces import Header


class Forwarding(Protocol):
    """What the lane needs of the application."""

    parts: ForwardingContext
    fast_path: FastPath

    def admit(self, request: RequestHead) -> Admitted | Denied:
        """Applies path, method, origin and size rules."""
        ...


class LaneProtocol(GuardedHttpProtocol):
    """One client connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forwarding: Forwarding | None = self.app_state.get(STATE)
        self._ready = False  # nothing is under way, so that the next request may take the fast path
        self._peer = ""
        self._default_headers: list[Header] | None = None
        self._default_lines = b""

    # Requests

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """A client has connected."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else "unknown"
        self._ready = self._forwarding is not None

    def data_received(self, data: bytes) -> None:
        """Bytes came in: most often one whole request with nothing to wait for."""
        ready, self._ready = self._ready, False
        if not ready or not self._take_fast(data):
            super().data_received(data)

    def _take_fast(self, data: bytes) -> bool:
        """Puts what is one whole request on the fast path; False where it is not for that."""
        assert self._forwarding is not None
        call = self._forwarding.fast_path.begin(data, self._peer, self)
        if call is None:
            return False
        self._idle_until = None
        self.begin_cycle(LaneFastResponse(call))
        call.send()
        return True

    def _take(self, data: bytes) -> None:
        super()._take(data)
        if self._ready and not self._quiet():  # one was answered at once, and more came behind it
            self._ready = False

    def on_message_begin(self) -> None:
        """A request begins; what only ASGI needs is made when it turns out to be ASGI's."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def _dispatch(self) -> None:
        if self._forwarding is not None and not self.parser.should_upgrade():
            assert self._head is not None
            if not self._head.http_1_0 and self._take_lane(self._forwarding):
                return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope holds this list
        super()._dispatch()

    def _take_lane(self, forwarding: Forwarding) -> bool:
        """Whether the request whose head has just been parsed goes by the lane."""
        head, length = self._head, self._verdict
        assert head is not None
        fields = Fields(self.headers)
        body_length = length if isinstance(length, int) else None
        line = RequestLine(head.method, head.target, head.http_1_0)
        keep_alive: bool = self.parser.should_keep_alive()
        return self._begin(forwarding, line, fields, body_length, keep_alive=keep_alive)

    def _begin(
        self,
        forwarding: Forwarding,
        line: RequestLine,
        fields: Fields,
        body_length: int | None,
        *,
        keep_alive: bool,
    ) -> bool:
        """Makes this the request under way; False where it is not the lane's."""
        path, _, query = line.target.partition(b"?")
        if is_own(path):
            return False
        request = RequestHead(line.method, path, query, fields, self._peer, body_length)
        verdict = forwarding.admit(request)
        if isinstance(verdict, Denied) and verdict.problem is Problem.NO_ROUTE:
            return False
        keep_alive = keep_alive and not self.draining
        cycle = LaneResponse(self, with_body=line.method != b"HEAD", keep_alive=keep_alive)
        cycle.exchange = ForwardedCall(forwarding.parts, request, verdict, cycle)
        self.begin_cycle(cycle)
        return True

    def begin_cycle(self, cycle: LaneResponse | LaneFastResponse) -> None:
        """This is the request under way from now on."""
        self.cycle = cycle  # type: ignore[assignment] # Rule 2

    def _head_taken(self) -> None:
        if isinstance(self.cycle, LaneResponse) and not self.cycle.begun:
            self.cycle.begun = True
            self.cycle.exchange.begin()

    def take_content(self, content: bytes) -> None:
        """Takes one read's worth of the request's body."""
        cycle = self.cycle
        if not isinstance(cycle, LaneResponse):
            super().take_content(content)
        elif not cycle.response_complete:
            cycle.exchange.body(content)

    def on_message_complete(self) -> None:
        """The request is complete."""
        cycle = self.cycle
        if not isinstance(cycle, LaneResponse):
            super().on_message_complete()
            return
        self._pass_content()
        self._message_over = True
        if cycle.begun and not cycle.response_complete:
            cycle.exchange.body_end()

    # The connection

    def on_response_complete(self) -> None:
        """The answer has been written: the next request may take the fast path."""
        super().on_response_complete()
        self._ready = self._quiet()

    def deliver(self, response: WholeResponse) -> None:
        """Writes the answer to a call on the fast path, which leaves less to look after."""
        cycle = self.cycle
        status, lines, content = response
        cycle.response_complete = True
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], self.default_lines(), *lines, end, content)))
        if not cycle.keep_alive:
            self.hang_up()
            self.on_response_complete()
            return
        if self._held or self.half_closed or self.flow.write_paused or self.transport.is_closing():
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self._wait_for_client()
        self._ready = True

    def whole_call(self, call: FastCall) -> LaneResponse:
        """The client's side of the call that goes on where the fast one stops."""
        del call
        self.expect_100_continue = False
        cycle = LaneResponse(self, with_body=True, keep_alive=self.cycle.keep_alive)
        cycle.begun = True
        self.begin_cycle(cycle)
        return cycle

    def default_lines(self) -> bytes:
        """The header lines of every answer; uvicorn makes the list anew each second."""
        default = self.server_state.default_headers
        if default is not self._default_headers:
            self._default_headers = default
            self._default_lines = b"".join(b"%b: %b\r\n" % header for header in default)
        return self._default_lines

    def _quiet(self) -> bool:
        """Whether nothing is under way here, in neither direction, and there is a fast path."""
        return not (
            self._forwarding is None
            or self._answering()
            or self._body is not None
            or self._held
            or not self._reader.fresh
            or self._lingering
            or self.draining
            or self.flow.write_paused
            or self.transport.is_closing()
        )

    def drain(self) -> None:
        """The next answer is the last one: the fast path does not ask."""
        super().drain()
        self._ready = False

    def hang_up(self) -> None:
        """The connection ends with the answer at hand."""
        self._hang_up()

    def _interrupt(self) -> None:
        """A call on the fast path falls back: there is something that the whole call has to hear."""
        if isinstance(self.cycle, LaneFastResponse) and not self.cycle.response_complete:
            self.cycle.call.interrupt()

    def endless(self) -> bool:
        """Whether the answer under way has no known length."""
        cycle: object = self.cycle
        return cycle.chunked if isinstance(cycle, LaneResponse) else super().endless()

    def speaks_1_1(self) -> bool:
        """A fast call has left no head behind, and is of HTTP/1.1."""
        cycle: object = self.cycle
        return isinstance(cycle, LaneResponse | LaneFastResponse) or super().speaks_1_1()

    def _client_gone(self) -> None:
        self._interrupt()
        if isinstance(self.cycle, LaneResponse):
            self.cycle.disconnected = True
            self.cycle.exchange.client_gone()
        else:
            super()._client_gone()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and with it the call under way."""
        self._ready = False
        self._interrupt()
        cycle = self.cycle
        super().connection_lost(exc)
        if isinstance(cycle, LaneResponse) and not cycle.response_complete:
            cycle.exchange.client_gone()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._ready = False
        self._interrupt()
        if isinstance(self.cycle, LaneResponse):
            self.cycle.exchange.pause_answer()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if isinstance(self.cycle, LaneResponse):
            self.cycle.exchange.resume_answer()
