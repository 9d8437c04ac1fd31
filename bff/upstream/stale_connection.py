"""A connection that ended under its call: stale or broken, and the repeats of the call. Pure.

Rule 1: `STALE` (RFC 9110, 9.2.2; RFC 9112, 9.3.1) is a connection that ended before one byte of the answer
where either nothing of the request had been written, which is safe for every method, or it had carried calls
before, so that the backend most likely closed it as idle; the request may have been read all the same, so
that only an idempotent method is then `safe_to_resend`.
Rule 2: a 408 in answer to a whole request without a body may come from a server that tired of an idle
connection (RFC 9110, 15.5.9): where that is all that was said it counts as such an end.
Rule 3: a first call on a connection that breaks is `BROKEN`, and never sent again.
Rule 4: a call is sent again `MOST_REPEATS` times: the client is told of a backend that closes one connection
after the other.
"""

from bff.upstream.backend_call import Call
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.response_parser import ResponseParser

MOST_REPEATS = 1
"""Times that a call is sent again for stale connections, before its client gets a 502."""

_TIMED_OUT = 408


def fault_of_end(call: Call, *, answered: bool, kept: bool) -> Fault:
    """Returns the fault of a connection that ended before its call.

    Args:
        call: the one under way.
        answered: a byte of its answer has come.
        kept: the connection had carried calls before.
    """
    if not call.written:
        return Fault(FaultKind.STALE, "closed before the request was written", safe_to_resend=True)
    if answered:
        return Fault(FaultKind.BROKEN, f"closed within the {'content' if call.head_seen else 'head'}")
    if kept:
        return Fault(FaultKind.STALE, "a kept connection closed", safe_to_resend=call.idempotent)
    return Fault(FaultKind.BROKEN, "closed before an answer")


def tired_of_waiting(call: Call, answer: ResponseParser) -> bool:
    """Returns true if an answer on a kept connection says that it was closed as idle: a 408, and no more."""
    alone = answer.status == _TIMED_OUT and not answer.persistent and not answer.interim_seen
    return alone and call.idempotent and not call.had_body


def sent_again(fault: Fault, repeats: int) -> bool:
    """Returns True if a call that has met this fault is sent again, where its body is at hand.

    `repeats` are those that it has had for stale connections.
    """
    return fault.kind is FaultKind.STALE and fault.safe_to_resend and repeats < MOST_REPEATS
