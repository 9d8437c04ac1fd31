"""The accounting of a call or a handshake: metrics and access line of its end, metrics and log of a fault."""

from bff.errors import Problem
from bff.observe.logs import access, get_logger
from bff.observe.request_metrics import Requests
from bff.proxy.forward.context import ForwardingContext
from bff.proxy.upstream.interfaces import Fault, FaultKind

CLIENT_GONE = 499
"""The status that is noted where the client has left before its answer's end."""

_FAULTS = {FaultKind.TIMEOUT: Problem.UPSTREAM_TIMEOUT, FaultKind.INVALID: Problem.UPSTREAM_INVALID}
_log = get_logger("bff.forward")


def note_call(
    context: ForwardingContext,
    counts: Requests,
    *,
    route: str,
    method: bytes,
    path: bytes,
    session: str | None,
    request_id: bytes,
    status: int,
    started: float,
    retried: bool = False,
) -> None:
    """Counts a call that has ended, and writes its access line. `started` is by the context's clock."""
    seconds = context.clock() - started
    counts.add(status, seconds)
    if context.access_log:
        access(
            method=method.decode("ascii", "replace"),
            path=path.decode("ascii", "backslashreplace"),
            status=status,
            duration=seconds,
            route=route,
            request_id=request_id.decode("ascii"),
            session=session,
            retried=retried,
        )


def note_fault(context: ForwardingContext, fault: Fault, *, route: str, request_id: bytes) -> Problem:
    """Counts and logs a backend's fault; returns the problem that the client is told."""
    kind = fault.kind.value
    context.metrics.upstream_failed(route, kind)
    _log.warning(
        "upstream_fault", route=route, kind=kind, detail=fault.detail, request_id=request_id.decode()
    )
    return _FAULTS.get(fault.kind, Problem.UPSTREAM_UNREACHABLE)
