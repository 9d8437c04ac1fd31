"""The state of a forwarded call: `call_opening.py`, `forwarder.py` and `call_end.py` act on it."""

import asyncio
from collections.abc import Callable

from bff.credentials.credential import Anonymous, Signed
from bff.limits.concurrency_limits import Caller
from bff.observe.backend_times import BackendTimes
from bff.policy.admission import Admitted, Denied, RequestHead
from bff.policy.fields import Header
from bff.policy.header_rules import RequestIds
from bff.proxy.forward.client_side import ClientSide
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.proxy.forward.request_body import NO_BODY
from bff.upstream.backend_call import Call
from bff.upstream.connection import UpstreamConnection

_ANONYMOUS = Anonymous()


class CallState:
    """The state of a forwarded call, from its request's head on."""

    def __init__(
        self,
        context: ForwardingContext,
        request: RequestHead,
        verdict: Admitted | Denied,
        client: ClientSide,
        ids: RequestIds | None = None,
    ) -> None:
        self._context = context
        self.request = request
        self._client = client
        self.started = context.clock()
        self.times = BackendTimes()
        self._ids = ids or context.request_ids(request)
        self._verdict = verdict
        if isinstance(verdict, Admitted):  # else `begin` refuses the call, and nothing else is asked of it
            self._admitted = verdict
            self._destination = context.destinations[verdict.route.path]
        self._task: asyncio.Task[None] | None = None
        self._call: Call | None = None  # at a backend
        self._connection: UpstreamConnection | None = None  # that it goes by
        self._held: list[Callable[[], None]] | None = None  # of its answer, while a 401 may be healed
        self._body_paused = False  # by the backend
        self._caller = Caller(context.callers, self._ids.client)
        self._credential: Signed | Anonymous = _ANONYMOUS
        self._session: str | None = None  # its key, for the log, where no credential has it
        self._upload = NO_BODY
        self._gathering_since: float | None = None  # while a connection is not yet taken, for its body's sake
        self._status = 0
        self._tail: bytes | None = None  # of an event stream: its last bytes
        self._leave: Callable[[], None] = lambda: None  # ends the watch on a client's own token
        self._finished = False
        self._retried = False  # after a 401
        self._repeats = 0  # after stale connections
        self._not_replayed = False

    def _drop_call(self) -> None:
        call, self._call, self._held = self._call, None, None
        if call is not None:
            call.cancel()

    def _named(self) -> tuple[Header, ...]:
        """Returns the field by which an error leads to its line in the log."""
        return ((b"x-request-id", self._ids.request_id),)

    def _route_name(self) -> str:
        return self._verdict.route.settings.path if isinstance(self._verdict, Admitted) else "-"
