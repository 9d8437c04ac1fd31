"""One connection to a backend, which carries one call at a time.

Rule 1: a connection carries another call only if the last one ended cleanly on both sides: the answer
delimited beyond doubt, the request wholly written, both persistent, nothing unread (RFC 9112, 9.3).
Rule 2: the sink hears nothing before `start` has returned, except `pause_body`.
Rule 3: the sink's last call is also this connection's last step: the sink may start the next call within it.
Rule 4: one timer a connection, not one a call: when it rings it looks at the call's present wait.
"""

import asyncio
import math
from typing import Any

from bff.policy.admission import RequestHead
from bff.upstream.backend_call import LONGER, Call, CallTimeouts
from bff.upstream.connector import bound_unsent, ended_cleanly
from bff.upstream.expect_continue import Expectation
from bff.upstream.interfaces import (
    ConnectionOwner,
    FastSink,
    Fault,
    FaultKind,
    ResponseSink,
    UpstreamRequest,
)
from bff.upstream.request_writer import UnsafeRequestError, request_head
from bff.upstream.response_parser import AnswerLimits, ResponseParser
from bff.upstream.stale_connection import fault_of_end, tired_of_waiting

_ERROR_STATUS = 400
_EXPECTATION_FAILED = 417
_CONTINUE = 100
_FAST_FOR = 1.0  # seconds: a fast call that lasts falls back, and so can be ended with its session


class UpstreamConnection(asyncio.Protocol):
    """An HTTP/1.1 connection to a backend; the pool makes it, and `start` puts a call on it.

    Attributes:
        closed: closed, or being closed: `start` would only report that.
        lost: done when the transport has let go of the socket.
        born, idle_since: by the loop's clock.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: ConnectionOwner,
        timeouts: CallTimeouts | None = None,
        limits: AnswerLimits | None = None,
        expectation: Expectation | None = None,
    ) -> None:
        self._loop = loop
        self._owner = owner
        self._timeouts = timeouts or CallTimeouts()
        self._transport: Any = None  # an `asyncio.Transport`, once the connection is made
        self._reader = ResponseParser(limits)
        self._expectation = expectation or Expectation()
        self._call: Call | None = None
        self._fast: FastSink | None = None
        self._since = 0.0  # when it was sent
        self._first_due = min(self._timeouts.first_byte, self._timeouts.total, _FAST_FOR)
        self._calls = 0
        self._answered = False  # a byte of the present call's answer has arrived
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self.now = loop.time
        self.closed = False
        self.client: str | None = None  # whose calls it counts for; the pool's
        self.lost: asyncio.Future[None] = loop.create_future()
        self.born = self.idle_since = loop.time()

    # What the forwarder and the pool do.

    def start(self, request: UpstreamRequest, sink: ResponseSink, first: bytes = b"") -> Call:
        """Writes the request's head, and `first` with it if that much of the body is at hand.

        Returns at once. A connection that has closed meanwhile says so by `sink.error`, soon.

        Raises:
            UnsafeRequestError: the head must not be written; the connection is unharmed and back in the pool.
        """
        assert self._call is None
        if request.expect_continue and not self._expectation.may_be_sent(self.now()):
            request = request._replace(expect_continue=False)
        try:
            head = request_head(request)
        except UnsafeRequestError:
            self.put_back()
            raise
        call = self._call = Call(self, request, sink, self._timeouts, self.now())
        self._answered = False
        self._reader.begin(no_content=request.method == b"HEAD")
        if self.closing():
            self.doom(call, self._fault_of_end(call))
            return call
        framed = call.frame(first) if first and call.held is None else ()
        if framed is None:
            self.doom(call, LONGER)
            return call
        self._calls += 1
        call.written = True
        self.send((head, *framed))
        if call.held is not None:
            call.hold(first)
        self.watch(call)
        return call

    def closing(self) -> bool:
        """Returns True when the connection carries nothing any more, also before it has said so."""
        return self.closed or self._transport.is_closing()

    def put_back(self) -> None:
        """Gives an unused connection back to the pool: its call is not made after all."""
        assert self._call is None
        if not self.closed:
            self._owner.free(self)

    def abort(self) -> None:
        """Closes at once, without another word even where it was being closed; a call under way fails."""
        self.fall_back()
        if self._call is not None:
            self._fail(self._call, Fault(FaultKind.BROKEN, "the connection was closed here"))
        self._close()
        if self._transport is not None and not self.lost.done():
            self._transport.abort()

    def carry(self, fast: FastSink, head: bytes) -> None:
        """Carries a fast call, with head and body ready for the wire; not while `closing`."""
        assert self._call is None
        self._fast = fast
        self._answered = False
        self._calls += 1
        clock = self.now
        self._since = now = clock()
        due = now + self._first_due
        if self._timer is None or self._rings_at > due:
            self._ring_at(due)
        self._transport.write(head)

    def adopt(self, request: RequestHead, sink: ResponseSink, *, left: int | None) -> Call:
        """Makes a whole call of the fast call under way, from where it stands.

        `left` is the number of bytes to come of an answer whose head has been passed on; None before that.
        """
        assert self._call is None
        sent = UpstreamRequest(request.method, b"", b"", (), request.body_length)
        call = self._call = Call(self, sent, sink, self._timeouts, self._since)
        call.sent_whole()
        self._reader.begin(no_content=False)
        if left is not None:
            self._reader.resume(left)
            self._answered = call.head_seen = True
            call.since = self.now()
        self.watch(call)
        return call

    def fall_back(self, fast: FastSink | None = None) -> None:
        """Has the fast call under way fall back; only this one, if it is given."""
        present = self._fast
        if present is not None and (fast is None or fast is present):
            self._fast = None
            present.fall_back()

    # What the call does.

    def is_on(self, call: Call) -> bool:
        """Returns true if this call is the one under way."""
        return self._call is call

    def send(self, pieces: tuple[bytes, ...]) -> None:
        """Hands bytes to the transport; it may call `pause_writing` from within."""
        transport = self._transport
        # Not `writelines`: asyncio's forgets to pause the protocol in some Pythons, 3.12.1 among them.
        transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def read_on(self, *, go: bool) -> None:
        """Lets the transport read, or not."""
        transport = self._transport
        if self.closed or transport.is_closing():
            return
        if go:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def watch(self, call: Call) -> None:
        """Sets the timer, unless it rings early enough for the call's present wait."""
        due = call.waits_for()[1]
        if self._timer is None or self._rings_at > due:
            self._ring_at(due)

    def _ring_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due < math.inf and not self.closed:
            self._rings_at = due
            self._timer = self._loop.call_at(due, self._ring)

    def doom(self, call: Call, fault: Fault) -> None:
        """Fails the call in the loop's next turn: its sink is not called while it calls."""
        call.stop_body()
        self._loop.call_soon(self._fail, call, fault)

    def drop(self, call: Call) -> None:
        """Ends the call without a word to its sink, and closes."""
        if self._call is call:
            self._call = None
            self._close()

    # What the transport does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport of a connection that is ready."""
        self._transport = transport
        bound_unsent(self._transport)

    def data_received(self, data: bytes) -> None:
        """Takes a part of an answer."""
        fast = self._fast
        if fast is not None:
            # An answer that overtakes the request's body is for the whole call to judge.
            overtaken = fast.has_body and self._transport.get_write_buffer_size()
            left = None if overtaken else fast.read(data)
            if left == 0:
                self._fast = None
                clock = self.now
                self.idle_since = clock()
                self._owner.free(self)
                fast.end()
            if left is not None:
                return
            self.fall_back()
        call = self._call
        if call is None:  # an answer before a request, or more than one to a request (RFC 9112, 6.3)
            self._close()
            return
        self._answered = True
        reader = self._reader
        reader.feed(data)
        if reader.refusal is not None:
            self._fail(call, Fault(FaultKind.INVALID, reader.refusal))
            return
        if call.held is not None and any(status == _CONTINUE for status, _ in reader.interim):
            call.go_ahead()
        if reader.head_done and not call.head_seen and self._call is call:
            self._pass_head(call, reader)
        if reader.chunks and self._call is call:
            chunks = reader.chunks
            call.sink.data(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self._call is not call:
            return
        if reader.done:
            self._complete(call)
        elif call.head_seen and not call.full:
            call.since = self.now()

    def eof_received(self) -> None:
        """Ends the call where the backend sends no more; the transport then closes by itself."""
        self.fall_back()
        call = self._call
        if call is None:
            self._close()
        elif self._reader.feed_eof() and ended_cleanly(self._transport):
            self._complete(call)
        else:
            self._fail(call, self._fault_of_end(call))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails the call under way: the socket is gone."""
        del exc  # how it went makes no difference: an end that may end an answer comes by `eof_received`
        self.fall_back()
        if self._call is not None:
            self._fail(self._call, self._fault_of_end(self._call))
        self._close()
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        """Pauses the request's body: the transport holds as much unsent as it should."""
        self.fall_back()
        if self._call is not None:
            size = self._transport.get_write_buffer_size()
            self._call.set_full(True, size)

    def resume_writing(self) -> None:
        """Lets the request's body go on: the transport has drained."""
        if self._call is not None:
            self._call.set_full(False, 0)

    # Within.

    def _pass_head(self, call: Call, reader: ResponseParser) -> None:
        """Passes the final head on; a body that is then for nothing ends here (RFC 9112, 9.5)."""
        if self._calls > 1 and tired_of_waiting(call, reader):
            self._fail(call, Fault(FaultKind.STALE, "a kept connection timed out", safe_to_resend=True))
            return
        if reader.status == _EXPECTATION_FAILED and call.expects_go_ahead:
            self._expectation.refused(self.now())
            if call.held is not None:
                unsent = tuple(call.held)
                self._fail(call, Fault(FaultKind.EXPECTATION, "the expectation was refused", unsent=unsent))
                return
        call.head_seen = True
        if call.held is not None or (not call.body_done and reader.status >= _ERROR_STATUS):
            call.stop_body()  # a body held back was announced and never sent; `body_done` does not show it
        call.sink.head(reader.status, reader.headers)
        if call.stopped and not reader.done and self._call is call:
            call.drop_rest()
        if not reader.done and self._call is call:
            if not call.full:
                call.since = self.now()
            self.watch(call)

    def _complete(self, call: Call) -> None:
        self._call = None
        if call.answer_paused:
            self.read_on(go=True)
        transport = self._transport
        written = call.body_done and not call.stopped
        if call.had_body and written:
            written = transport.get_write_buffer_size() == 0
        if written and self._reader.persistent and not transport.is_closing():
            self.idle_since = self.now()
            self._owner.free(self)
        else:
            self._close(politely=written)
        call.sink.end()

    def _fail(self, call: Call, fault: Fault) -> None:
        if self._call is call:
            self._call = None
            self._close()
            call.sink.error(fault)

    def _fault_of_end(self, call: Call) -> Fault:
        return fault_of_end(call, answered=self._answered, kept=self._calls > 1)

    def _ring(self) -> None:
        self._timer = None
        if self._fast is not None and self._since + self._first_due > self.now():
            self._ring_at(self._since + self._first_due)  # it was set for a call before
            return
        self.fall_back()
        call = self._call
        if call is None:
            return
        stage, due = call.waits_for()
        now = self.now()
        if due > now:
            self.watch(call)
        elif stage == "go-ahead":
            call.go_ahead()
        elif stage == "write" and call.took_some(self._transport.get_write_buffer_size(), now):
            self.watch(call)
        else:
            self._fail(call, Fault(FaultKind.TIMEOUT, stage))

    def _close(self, *, politely: bool = False) -> None:
        """Closes, once; `politely` lets TLS say goodbye and the transport send its buffer."""
        if self.closed:
            return
        self.closed = True
        self._ring_at(math.inf)
        if self._transport is not None:
            if politely:
                self._transport.close()
            else:
                self._transport.abort()
        self._owner.gone(self)
