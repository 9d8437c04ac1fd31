"""The context of forwarded calls: the parts that all of a process share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bff.limits.concurrency_limits import Callers
from bff.observe.metrics import Metrics
from bff.observe.tracing import Spans
from bff.open_streams import OpenStreams
from bff.policy.intern_pool import InternPool
from bff.problems import LOGIN
from bff.proxy.forward.destination import Destination
from bff.proxy.forward.response_templates import ResponseLines
from bff.proxy.forward.shared_fast_route import SharedRoute
from bff.request_ids import RequestIdMaker
from bff.session.session_calls import SessionCalls
from bff.tasks import Tasks


@dataclass(frozen=True, slots=True)
class ForwardingContext:
    """The parts that all forwarded calls of a process share."""

    destinations: Mapping[bytes, Destination]  # by the route's path
    request_ids: RequestIdMaker
    tasks: Tasks
    metrics: Metrics
    clock: Callable[[], float]  # seconds, monotonic
    access_log: bool = True
    frontend: str = ""  # its name
    error_page: str | None = None  # `spa.error_page`
    login_url: str = LOGIN
    home: str = "/"  # the start page, for pages of ours
    login_params: tuple[str, ...] = ()  # that a sign-in may be asked with
    callers: Callers = field(default_factory=Callers)
    event_streams: OpenStreams = field(default_factory=OpenStreams)
    bound_stream_lifetime: float | None = None  # seconds
    session_calls: SessionCalls = field(default_factory=SessionCalls)
    response_lines: InternPool[ResponseLines] = field(default_factory=InternPool)
    fast_routes: InternPool[SharedRoute] = field(default_factory=InternPool)
    spans: Spans | None = None  # of calls that leave a trace
