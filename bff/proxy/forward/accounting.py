"""The accounting of a call that is over: its metrics and its access line."""

from bff.observe.logs import access
from bff.policy.admission import RequestHead
from bff.proxy.forward.context import ForwardingContext
from bff.proxy.forward.credentials import Anonymous, Signed

CLIENT_GONE = 499
"""The status that is noted where the client has left before its answer's end."""


def note_call(
    parts: ForwardingContext,
    request: RequestHead,
    route: str,
    credential: Signed | Anonymous,
    *,
    status: int,
    started: float,
    request_id: bytes,
    retried: bool,
) -> None:
    """Counts a call, and writes its line; `started` is by the clock of the parts."""
    seconds = parts.clock() - started
    method = request.method.decode("ascii", "replace")
    parts.metrics.request_finished(route, method, status, seconds)
    if parts.access_log:
        access(
            method=method,
            path=request.raw_path.decode("ascii", "backslashreplace"),
            status=status,
            duration=seconds,
            route=route,
            request_id=request_id.decode(),
            session=credential.found.session.id if isinstance(credential, Signed) else None,
            retried=retried,
        )
