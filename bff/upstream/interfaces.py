"""The interfaces between forwarder and backend connection: request, sink of the answer, faults.

The two talk by plain calls, both ways, on one event loop. The forwarder starts a call on a connection
and is its sink: the connection calls the sink as the answer arrives; the forwarder calls the `Call` as the
request's body arrives. Nothing here awaits, so that a forwarded request needs no task of its own.

Rule 1: after `end` or `error`, and after `cancel`, neither side calls the other again.
Rule 2: `head` comes once, before any `data`. A 1xx goes no further: ASGI has no way to pass one on.
Rule 3: a callee told to pause may still be handed one read's worth that was already there.
Rule 4: no callback raises; an error becomes `error` or `cancel`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

from bff.errors import Problem
from bff.policy.fields import Header


class FaultKind(Enum):
    """The kinds of failures on the backend's side."""

    UNREACHABLE = "unreachable"  # no connection could be made, or none became free
    TIMEOUT = "timeout"  # connect, queue, write, first byte, between bytes, or total
    INVALID = "invalid"  # the answer was not valid, or not unambiguous, HTTP/1.1
    BROKEN = "broken"  # the connection ended in the middle of the call
    EXPECTATION = "expectation"  # 417 to the `Expect` that we added: to be sent again, and goes without it
    STALE = "stale"  # a kept-alive connection ended, or timed out, before an answer: see `safe_to_resend`


_PROBLEMS = {FaultKind.TIMEOUT: Problem.UPSTREAM_TIMEOUT, FaultKind.INVALID: Problem.UPSTREAM_INVALID}


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure of a call. `detail` is for the log: it names the stage and never holds a header or body.

    `safe_to_resend`, with STALE only: nothing of the request was written, or a kept-alive connection ended
    without an answer and the method is idempotent (RFC 9110, 9.2.2). Whether the body is still at hand is
    not the connection's to know.

    `unsent`, with EXPECTATION only: the body so far, of which nothing was sent.
    """

    kind: FaultKind
    detail: str
    safe_to_resend: bool = False
    unsent: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def problem(self) -> Problem:
        """The problem that the client is told."""
        return _PROBLEMS.get(self.kind, Problem.UPSTREAM_UNREACHABLE)


class UpstreamRequest(NamedTuple):
    """A request ready for the wire: everything that policy decides has been decided.

    `body_length` is the exact number of bytes to come, `None` for a body of unknown length (sent
    chunked), 0 for none. The connection writes Host, framing and `Expect` itself; `headers` hold none
    of them, and no hop-by-hop field. `expect_continue` asks for `Expect: 100-continue`.
    """

    method: bytes
    target: bytes  # origin form: path and query
    host: bytes
    headers: Sequence[Header]
    body_length: int | None = 0
    expect_continue: bool = False


class ResponseSink(Protocol):
    """The receiver of a backend's answer, and of the flow control of the request's body.

    While the other side calls `start`, `write` or `finish`, it hears nothing but `pause_body`.
    """

    def head(self, status: int, headers: list[Header]) -> None:
        """Takes the final status line and headers; framing fields are included as received."""

    def data(self, chunk: bytes) -> None:
        """Takes a piece of the answer's content, chunked coding removed."""

    def end(self) -> None:
        """Ends the answer, which is complete and was delimited beyond doubt."""

    def error(self, fault: Fault) -> None:
        """Ends the call, which failed. After `head` the answer is truncated."""

    def pause_body(self) -> None:
        """Asks for no more calls of `write`: the connection's write buffer is full."""

    def resume_body(self) -> None:
        """Asks to go on: the buffer has drained."""


class FastSink(Protocol):
    """A call on the fast path, as its connection sees it (`bff.proxy.forward.fast_path`)."""

    has_body: bool

    def read(self, data: bytes) -> int | None:
        """Takes a read; returns the number of bytes still to come, None where the answer is not plain."""

    def end(self) -> None:
        """Ends the answer: nothing is to come, and the connection is done with the call."""

    def fall_back(self) -> None:
        """Goes on as a forwarded call, by `UpstreamConnection.adopt`."""


class ConnectionOwner(Protocol):
    """The owner of a connection: the pool."""

    def free(self, connection: Any) -> None:
        """Takes back a connection that can carry another call."""

    def gone(self, connection: Any) -> None:
        """Forgets a connection that is closed or being closed; called once."""
