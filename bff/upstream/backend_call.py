"""One request on a backend connection, as the forwarder holds it: body, flow control, waits, cancellation.

Each call is an object of its own, so that a word said too late about one call can never touch the next one on
the same connection.

Rule 1: whatever is sent beyond, or ended short of, the announced length would be read as the next request:
the connection is torn down instead.
Rule 2: while `write` or `finish` runs, the sink hears nothing but `pause_body`.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from bff.upstream.interfaces import Fault, FaultKind, ResponseSink, UpstreamRequest
from bff.upstream.request_writer import is_idempotent, waits_for_go_ahead

Stage = Literal["go-ahead", "write", "client", "first byte", "between bytes", "total"]

_LAST_CHUNK = b"0\r\n\r\n"
LONGER = Fault(FaultKind.BROKEN, "the request's body is longer than announced")
_SHORTER = Fault(FaultKind.BROKEN, "the request's body is shorter than announced")


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """The timeouts of a call in seconds; `math.inf` for none.

    `first_byte` runs from the end of the request to the end of the final answer's head, and `between_bytes`
    between two reads after that; both rest while the client is the one that is waited for. `write` bounds how
    long the backend may take nothing of the body. `go_ahead` is no fault when it has passed: the body then
    goes without the 100 (RFC 9110, 10.1.1).
    """

    first_byte: float = 60.0
    between_bytes: float = 300.0
    write: float = 60.0
    total: float = math.inf
    go_ahead: float = 1.0


class CallConnection(Protocol):
    """The connection that a call is on."""

    def is_on(self, call: "Call") -> bool:
        """Returns true if this call is the one under way."""

    def send(self, pieces: tuple[bytes, ...]) -> None:
        """Hands bytes to the transport."""

    def read_on(self, *, go: bool) -> None:
        """Lets the transport read, or not."""

    def watch(self, call: "Call") -> None:
        """Sets the timer for the call's present wait."""

    def doom(self, call: "Call", fault: Fault) -> None:
        """Fails the call, soon."""

    def drop(self, call: "Call") -> None:
        """Ends the call without a word to its sink, and closes."""

    def now(self) -> float:
        """The loop's clock."""


class Call:
    """A request under way, for the forwarder to act on, and for the connection to keep its state in.

    Attributes:
        body_done: nothing more of the body will be handed over.
        stopped: the backend has answered and wants no more of it, or the call is doomed.
        held: the body so far, while it waits for the go-ahead; None where nothing is waited for.
        full: the transport holds as much unsent as it should; `unsent` is how much that was.
        since: when the present wait began; `ends_at` is when the whole call must be over.
        written: at least the head has been handed to the transport.
    """

    def __init__(
        self,
        connection: CallConnection,
        request: UpstreamRequest,
        sink: ResponseSink,
        timeouts: CallTimeouts,
        now: float,
    ) -> None:
        self._connection = connection
        self._left = length = request.body_length  # bytes of the body still to come; None: chunked
        self._told_to_pause = False
        self.sink = sink
        self.timeouts = timeouts
        self.idempotent = is_idempotent(request.method)
        self.had_body = length != 0
        self.body_done = length == 0
        self.stopped = False
        self.expects_go_ahead = waits_for_go_ahead(request)
        self.held: list[bytes] | None = [] if self.expects_go_ahead else None
        self.full = False
        self.unsent = 0
        self.answer_paused = False
        self.head_seen = False
        self.written = False
        self.since = now
        self.ends_at = now + timeouts.total

    # What the forwarder does.

    def write(self, chunk: bytes) -> None:
        """Sends a piece of the body; dropped once the call is over or the backend wants no more."""
        if not chunk or self.stopped or not self._connection.is_on(self):
            return
        if not self._account_for(chunk):
            self._connection.doom(self, LONGER)
        elif self.held is not None:
            self.held.append(chunk)
        else:
            self._pass(self._framed(chunk))

    def finish(self) -> None:
        """Notes that the body is complete; needed only where its length was not announced."""
        if self.body_done or not self._connection.is_on(self):
            return
        if self._left:
            self._connection.doom(self, _SHORTER)
        else:
            self.body_done = True
            if self.held is None:
                self._pass((_LAST_CHUNK,))

    def pause_answer(self) -> None:
        """Stops reading from the backend: the client reads slowly."""
        if not self.answer_paused and self._connection.is_on(self):
            self.answer_paused = True
            self._connection.read_on(go=False)

    def resume_answer(self) -> None:
        """Goes on reading."""
        if self.answer_paused and self._connection.is_on(self):
            self.answer_paused = False
            self._connection.read_on(go=True)
            self._begin_wait()

    def cancel(self) -> None:
        """Ends the call and closes its connection, unless the call is over already."""
        self._connection.drop(self)

    # What the connection does.

    def sent_whole(self) -> None:
        """Notes that head and body have been handed to the transport already."""
        self.written = self.body_done = True
        self._left = 0

    def frame(self, chunk: bytes) -> tuple[bytes, ...] | None:
        """Returns a piece of the body as it goes on the wire; None where it is more than was announced."""
        return self._framed(chunk) if self._account_for(chunk) else None

    def _account_for(self, chunk: bytes) -> bool:
        if self._left is None:
            return not self.body_done
        if len(chunk) > self._left:
            return False
        self._left -= len(chunk)
        self.body_done = self._left == 0
        return True

    def _framed(self, chunk: bytes) -> tuple[bytes, ...]:
        return (chunk,) if self._left is not None else (b"%x\r\n" % len(chunk), chunk, b"\r\n")

    def hold(self, first: bytes) -> None:
        """Holds the body, of which this is the first piece, until the go-ahead."""
        self.adjust_flow()
        self.write(first)

    def go_ahead(self) -> None:
        """Sends the body held back: the 100 has come, or has been waited for long enough."""
        held, self.held = self.held or [], None
        pieces = [piece for chunk in held for piece in self._framed(chunk)]
        if self._left is None and self.body_done:
            pieces.append(_LAST_CHUNK)
        if pieces:
            self._connection.send(tuple(pieces))
        self._begin_wait()
        self.adjust_flow()

    def stop_body(self) -> None:
        """Sends nothing more of the body (RFC 9112, 9.5)."""
        self.stopped = self.body_done = True
        self.held = None

    def drop_rest(self) -> None:
        """Lets the rest of the body come, to be thrown away, so that its end is heard."""
        if self._told_to_pause:
            self._told_to_pause = False
            self.sink.resume_body()

    def set_full(self, full: bool, unsent: int) -> None:
        """Notes that the transport's buffer has filled up, or has drained."""
        self.full = full
        self.unsent = unsent
        self._begin_wait()
        self.adjust_flow()

    def took_some(self, unsent: int, now: float) -> bool:
        """Returns true if the backend has taken bytes that were unsent at the last look."""
        if unsent >= self.unsent:
            return False
        self.unsent = unsent
        self.since = now
        return True

    def waits_for(self) -> tuple[Stage, float]:
        """Returns the present wait, and when it is over."""
        limits = self.timeouts
        stage: Stage
        if self.held is not None:
            stage, limit = "go-ahead", limits.go_ahead
        elif self.full and not self.stopped:
            stage, limit = "write", limits.write
        elif self.answer_paused or not self.body_done:
            stage, limit = "client", math.inf
        elif self.head_seen:
            stage, limit = "between bytes", limits.between_bytes
        else:
            stage, limit = "first byte", limits.first_byte
        due = self.since + limit
        return (stage, due) if due < self.ends_at else ("total", self.ends_at)

    def adjust_flow(self) -> None:
        """Tells the sink to pause or go on, if that is news and there is something left to send."""
        pause = self.full or self.held is not None
        if pause is self._told_to_pause or self.body_done:
            return
        self._told_to_pause = pause
        if pause:
            self.sink.pause_body()
        else:
            self.sink.resume_body()

    def _pass(self, framed: tuple[bytes, ...]) -> None:
        if self.full:
            self.unsent += sum(map(len, framed))
        self._connection.send(framed)
        if self.body_done:
            self._begin_wait()

    def _begin_wait(self) -> None:
        if self._connection.is_on(self):
            self.since = self._connection.now()
            self._connection.watch(self)
