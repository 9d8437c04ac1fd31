"""Forwarded calls that leave a trace: chosen at the start in place of those that do not.

Rule 1: the client's `traceparent` is the parent only if it is well-formed and the only one; `tracestate` goes
with it, and is dropped without it.
Rule 2: a backend gets the id of the span of its own attempt.
Rule 3: what a trace adds is added around the call: a call that is not sampled does what it does without.
"""

import time
from collections.abc import Coroutine, Sequence
from typing import Any

from bff.errors import Problem
from bff.observe.tracing import CallTrace, Parent, Place
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Fields, Header
from bff.policy.header_rules import RequestIds
from bff.policy.routes import Route
from bff.policy.trace_context import in_trace, valid_traceparent
from bff.proxy.forward.call_end import EndingCall
from bff.proxy.forward.fast_path import FastCall
from bff.proxy.forward.forward_auth import ForwardAuthCall
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.session.cached_session import CachedSession
from bff.session.sessions import NoSession
from bff.upstream.connection import UpstreamConnection
from bff.upstream.interfaces import Fault

_SERVER_ERROR = 500


def begun(context: ForwardingContext, request: RequestHead, route: Route | None, name: str = "") -> CallTrace:
    """Begins the trace of a request to this route; where there is none, `name` stands for it."""
    assert context.spans is not None
    return context.spans.call(
        parent_of(request.fields.only(b"traceparent"), request.fields.values(b"tracestate")),
        request.method.decode("ascii", "replace"),
        name if route is None else route.settings.path,
        request.raw_path.decode("ascii", "backslashreplace"),
    )


def parent_of(parent: bytes | None, states: Sequence[bytes]) -> Parent | None:
    """The trace context of a request, by its only `traceparent`; None where there is none to go by."""
    return Parent(parent, states) if parent is not None and valid_traceparent(parent) else None


def place_of(route: Route) -> Place:
    """The backend of a route."""
    upstream = route.upstream
    return Place(upstream.scheme, upstream.host, upstream.port)


def attempted(
    trace: CallTrace, request: RequestHead, ids: RequestIds, admitted: Admitted
) -> tuple[RequestHead, RequestIds]:
    """Begins an attempt; returns the request and its ids with the attempt's own trace context."""
    method, target = request.method.decode("ascii"), admitted.target.decode("ascii")
    parent = trace.attempt(place_of(admitted.route), method, target)
    fields = Fields(in_trace(request.fields.headers, parent, trace.state))
    return request._replace(fields=fields), ids._replace(traceparent=parent)


class _Traced(EndingCall):
    """The end of a call with its trace."""

    _trace: CallTrace
    _problem: Problem | None = None

    def _fail(self, problem: Problem, **extra: Any) -> None:
        self._problem = problem
        super()._fail(problem, **extra)

    def _finish(self, *, gone: bool = False) -> None:
        with self._trace.attached():
            super()._finish(gone=gone)
        problem, error = self._problem, "client_gone" if gone else None
        # None for the client's own mistake
        if problem and not gone and not self._status == problem.status < _SERVER_ERROR:
            error = problem.code
        self._trace.end(self._status, error)


class TracedCall(_Traced, ForwardedCall):
    """A forwarded call with its trace. `trace`: that of the fast call that it takes over."""

    def __init__(self, *common: Any, trace: CallTrace | None = None) -> None:
        super().__init__(*common)
        self._trace = trace or begun(self._context, self.request, self._verdict.route)

    def begin(self) -> None:
        """Begins the call."""
        with self._trace.attached():
            super().begin()

    def session_over(self, why: NoSession) -> None:
        """Ends the call with its session."""
        with self._trace.attached():
            super().session_over(why)

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        with self._trace.attached():
            super()._spawn(step)

    def _send_over(self, connection: UpstreamConnection) -> None:
        self.request, self._ids = attempted(self._trace, self.request, self._ids, self._admitted)
        super()._send_over(connection)

    def head(self, status: int, headers: list[Header]) -> None:
        """Takes the head of the backend's answer."""
        self._trace.attempt_over(status)
        super().head(status, headers)

    def error(self, fault: Fault) -> None:
        """Takes a backend's fault."""
        self._trace.attempt_over(None, fault.kind.value)
        with self._trace.attached():
            super().error(fault)

    def _finish(self, *, gone: bool = False) -> None:
        super()._finish(gone=gone)
        if self._trace.sampled:
            requests = self._context.metrics.requests(
                self._route_name(), self.request.method.decode("ascii", "replace")
            )
            seconds = self._context.clock() - self.started
            requests.exemplify(seconds, self.times.upstream, self._trace.trace_id)


class TracedFastCall(FastCall):
    """A call on the fast path with its trace."""

    __slots__ = ("_began", "_trace")

    _trace: CallTrace

    def __init__(self, *call: Any) -> None:
        super().__init__(*call)
        self._began: int | None = None  # the read of its session, in nanoseconds since the epoch

    def send(self) -> None:
        """Sends it, its session read first if need be."""
        if self._began is None:
            self._begin_trace()
        if self.connection is None:
            self._began = time.time_ns()
        else:
            self._trace_attempt()
        super().send()

    def _begin_trace(self) -> None:
        spans, request = self._route.context.spans, self._request
        assert spans is not None
        # A request with a `tracestate` is not for the fast path.
        parent = parent_of(request.trace, ())
        self._trace = spans.call(
            parent, request.method.decode("ascii"), self._shared.name, request.path.decode("ascii")
        )

    def _fetched(self, found: CachedSession | None) -> None:
        assert self._began is not None
        self._trace.read_session(self._began)
        super()._fetched(found)

    def _trace_attempt(self) -> None:
        matched, request, trace = self._matched, self._request, self._trace
        if trace.sampled:
            request.trace = trace.attempt(
                place_of(matched.route), request.method.decode("ascii"), matched.target.decode("ascii")
            )
        else:
            request.trace = trace.traceparent

    def end(self) -> None:
        """Passes the end of the answer on, and accounts for the call."""
        trace, status, upstream = self._trace, self._status, self._answered - self._sent
        if not trace.sampled:
            super().end()
        else:
            trace.attempt_over(status)
            with trace.attached():
                super().end()
            trace.end(status)
            seconds = self._route.context.clock() - self._started
            requests = self._route.requests[self._shared.methods[self._request.method].place]
            requests.exemplify(seconds, upstream, trace.trace_id)

    def _whole(self, head: RequestHead, admitted: Admitted, ids: RequestIds | None) -> ForwardedCall:
        if self._status:
            self._trace.attempt_over(self._status)
        return TracedCall(self._route.context, head, admitted, self._client, ids, trace=self._trace)


class TracedForwardAuthCall(_Traced, ForwardAuthCall):
    """The answering of a reverse proxy's question, with its trace.

    The parent is what the question says: the reverse proxy's own span, or the client's if that is passed on.
    """

    def __init__(self, *common: Any) -> None:
        super().__init__(*common)
        self._trace = begun(self._context, self.request, None, self._route_name())

    def begin(self) -> None:
        """Answers the question."""
        with self._trace.attached():
            super().begin()
