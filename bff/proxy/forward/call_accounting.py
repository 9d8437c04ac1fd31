"""The accounting of a call or a handshake: metrics and access line of its end, metrics and log of a fault."""

from bff.errors import Problem
from bff.observe.logs import Whose, access, audit, get_logger, named
from bff.observe.request_metrics import Requests
from bff.policy.admission import Denied, RequestHead
from bff.policy.header_rules import RequestIds
from bff.proxy.forward.fast_route import FastRoute
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.upstream.interfaces import Fault

_SHOWN = 200  # bytes of a client's path, in the log

CLIENT_GONE = 499
"""The status that is noted where the client has left before its answer's end."""

_log = get_logger("bff.forward")


def note_call(  # noqa: PLR0917 - called by position on the hot path
    context: ForwardingContext | FastRoute,
    counts: Requests,
    route: str,
    method: bytes,
    path: bytes,
    session: str | None,
    request_id: bytes,
    status: int,
    started: float,
    upstream: float | None = None,
    not_ours: float | None = None,
    retried: bool = False,
    whose: Whose | None = None,
) -> None:
    """Counts a call that has ended, and writes its access line.

    `started` is by the context's clock. `upstream` is how long backends took for the head of the answer, in
    seconds, and `not_ours` how long the call was theirs or its client's; None where nothing is told apart.
    `whose` is the session whose provider the line may name.
    """
    clock = context.clock
    seconds = clock() - started
    counts.add(status, seconds, upstream, None if not_ours is None else seconds - not_ours)
    if context.access_log:
        shown = request_id.decode("ascii")
        access(method, path, status, seconds, route, shown, session, retried, context.frontend, whose)


def note_denied(context: ForwardingContext, denied: Denied, request: RequestHead, ids: RequestIds) -> None:
    """Logs a request that admission denies, if an operator may ask why."""
    if denied.problem is Problem.CSRF_REJECTED:
        audit("csrf_rejected", address=ids.client, reason=denied.reason, frontend=context.frontend)
    elif denied.problem is Problem.BAD_REQUEST:
        _log.info(
            "refused",
            code=denied.problem.code,
            reason=denied.reason,
            path=request.raw_path[:_SHOWN].decode("ascii", "backslashreplace"),
            address=ids.client,
            request_id=ids.request_id.decode(),
            **named(context.frontend),
        )


def note_fault(context: ForwardingContext, fault: Fault, *, route: str, request_id: bytes) -> None:
    """Counts and logs a backend's fault."""
    kind = fault.kind.value
    context.metrics.upstream_failed(route, kind)
    where = {"route": route, **named(context.frontend)}
    _log.warning("upstream_fault", **where, kind=kind, detail=fault.detail, request_id=request_id.decode())
