"""The fast path: calls with nothing to wait for on the way out, and nothing to decide on the way back.

Most of an SPA's calls are such: the whole request came in one read, the session is in the near cache and its
token good, a connection is idle, and the whole answer comes in one read. Such a call is one small object, one
write to the backend and one to the client. No two of them need be alike.

Rule 1: a call stays on the fast path for as long as nothing else happens. At any other event (the client
leaves or reads slowly, the answer comes in pieces, late, as a 401 or not at all, the connection breaks) it
falls back: a `ForwardedCall` takes over as if it had made the call itself, and is told of the event.
Rule 2: a request is on it only where it is allowed beyond doubt. One that would be refused takes the other
way, which knows how to say so: every refusal has one home.
Rule 3: what goes to the backend is what the whole forwarder would send; a test holds the two together.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from bff.observe.request_metrics import Requests
from bff.policy.admission import Admitted, RequestHead
from bff.policy.cookies import without_own
from bff.policy.fields import Fields
from bff.policy.origin import SAFE_METHODS, Allowed, Guard, Rejected
from bff.policy.routes import Matched, Route, RouteTable
from bff.policy.trace import valid_request_id, valid_traceparent
from bff.proxy.forward.accounting import note_call
from bff.proxy.forward.context import ClientSide, Destination, ForwardingContext
from bff.proxy.forward.credentials import Anonymous, Ready, Signed
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.request_ids import ID_DIGITS
from bff.proxy.forward.response_templates import WholeResponse
from bff.proxy.server.line_cache import LineCache, PlainRequest
from bff.proxy.upstream.connection import UpstreamConnection
from bff.session.cached_session import CachedSession
from bff.session.session_reader import Then

_TRACE_END = ID_DIGITS + 32
_MOST_VERDICTS = 1024
_ANONYMOUS = Anonymous()
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")  # those that `LineCache` reads
_LENGTH_EXPECTED = frozenset({b"POST", b"PUT", b"PATCH"})


class FastClient(ClientSide, Protocol):
    """The connection that a fast call came on, and the client's side of the call that it falls back to."""

    def deliver(self, response: WholeResponse) -> None:
        """Writes the whole answer: the call is over."""

    def fell_back(self, call: ForwardedCall) -> None:
        """The call goes on as this one."""


class _FastRoute:
    """The common part of all fast calls of one route."""

    __slots__ = (
        "counts",
        "credentials",
        "head_tail",
        "longest_body",
        "name",
        "pool",
        "responses",
        "rules",
        "signed_by",
    )

    def __init__(self, route: Route, destination: Destination, context: ForwardingContext) -> None:
        settings = route.settings
        self.credentials = destination.credentials
        self.pool = destination.pool
        self.rules = destination.rules
        self.responses = destination.responses
        self.name = settings.path
        self.signed_by = (settings.auth, settings.csrf)
        self.longest_body = min(settings.replay_buffer, settings.max_body)
        self.head_tail = b" HTTP/1.1\r\nhost: " + route.host_header + b"\r\nx-request-id: "
        self.counts: Mapping[bytes, Requests] = {
            method.encode("ascii"): context.metrics.requests(settings.path, method)
            for method in _METHODS
            if method in settings.methods
        }


class FastPath:
    """The fast path of a process."""

    def __init__(
        self, *, context: ForwardingContext, routes: RouteTable, guard: Guard, lines: LineCache
    ) -> None:
        self.context = context
        self._routes = routes
        self._guard = guard
        self.lines = lines
        self._by_path = {
            route.path: _FastRoute(route, context.destinations[route.path], context)
            for route in routes.routes
            # else lines fare otherwise than `lines` says, or there is something to wait for
            if not route.settings.pass_request_headers and context.destinations[route.path].limit is None
        }
        self._verdicts: dict[object, bool] = {}

    def begin(  # noqa: PLR0911 - a list of doubts
        self, request: PlainRequest, peer: str, client: FastClient
    ) -> "FastCall | None":
        """Makes the call of a request that `lines` has read, not yet sent; None where it is not for it."""
        matched = self._routes.match(request.path)
        if not isinstance(matched, Matched):
            return None
        route = self._by_path.get(matched.route.path)
        if route is None:
            return None
        count = route.counts.get(request.method)
        signed = None if count is None else self._signed(route, request)
        if count is None or signed is None or len(request.body) > route.longest_body:
            return None
        ready: Ready | None = None
        if signed:
            if request.cookie is None:
                return None
            ready = route.credentials.ready(request.cookie)
            if ready is None:
                return self._with_reader(route, matched, request, peer, client, count)
        pool = route.pool
        caller = self._client(request, peer) if ready is None else ready.key
        connection = pool.acquire_nowait(caller)
        if connection is None or connection.closing:
            return None
        return FastCall(self, route, matched, request, peer, client, ready, None, connection, count)

    def _client(self, request: PlainRequest, peer: str) -> str:
        return self.context.hop.client(peer, request.addresses)

    def _with_reader(  # noqa: PLR0917 - one caller, on the hot path
        self,
        route: _FastRoute,
        matched: Matched,
        request: PlainRequest,
        peer: str,
        client: FastClient,
        count: Requests,
    ) -> "FastCall | None":
        """The call whose session is not in the near cache: it reads its session first."""
        reader = route.credentials.reader(request.cookie or b"") if route.pool.has_idle else None
        if reader is None:
            return None
        return FastCall(self, route, matched, request, peer, client, None, reader, None, count)

    def _signed(self, route: _FastRoute, request: PlainRequest) -> bool | None:
        """True for a call with a session, False for one without; None where the origin check refuses it."""
        key = (route.signed_by, request.method in SAFE_METHODS, *request.guarded)
        known = self._verdicts.get(key)
        if known is None:
            auth, csrf = route.signed_by
            verdict = self._guard.route(request.guarded, request.method, auth=auth, csrf=csrf)
            if isinstance(verdict, Rejected):
                return None
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            known = self._verdicts[key] = isinstance(verdict, Allowed)
        return known


class FastCall:
    """One call on the fast path.

    Attributes:
        connection: the one that carries it; None while its session is being read.
        fell_back: a `ForwardedCall` has taken over.
    """

    __slots__ = (
        "_client",
        "_count",
        "_digits",
        "_matched",
        "_path",
        "_peer",
        "_reader",
        "_ready",
        "_request",
        "_request_id",
        "_route",
        "_started",
        "connection",
        "fell_back",
        "has_body",
    )

    def __init__(  # noqa: PLR0917 - one caller, on the hot path
        self,
        path: FastPath,
        route: _FastRoute,
        matched: Matched,
        request: PlainRequest,
        peer: str,
        client: FastClient,
        ready: Ready | None,
        reader: Callable[[Then], None] | None,
        connection: UpstreamConnection | None,
        count: Requests,
    ) -> None:
        self._path = path
        self._route = route
        self._matched = matched
        self._request = request
        self._peer = peer
        self._client = client
        self._ready = ready
        self._reader = reader
        self._count = count
        self.connection = connection
        self.has_body = bool(request.body)
        self.fell_back = False

    def send(self) -> None:
        """Sends it, its session read first if need be; answer or fall-back may come before this returns."""
        self._started = self._path.context.clock()
        if self.connection is not None:
            self._go(self.connection)
        else:
            assert self._reader is not None
            self._reader(self._fetched)

    def _fetched(self, found: CachedSession | None) -> None:
        if self.fell_back:
            return  # the whole call finds it out by itself
        self._ready = self._route.credentials.quiet(found)
        pool, ready = self._route.pool, self._ready
        connection = None if ready is None else pool.acquire_nowait(ready.key)
        if connection is None or connection.closing:
            self.fall_back()
        else:
            self.connection = connection
            self._go(connection)

    def _go(self, connection: UpstreamConnection) -> None:
        self._digits = digits = self._path.context.hop.draw()
        connection.carry(self, self._head(digits))

    def _head(self, digits: bytes) -> bytes:
        """The request's head and body as they go to the backend."""
        request, route, matched = self._request, self._route, self._matched
        rules = route.rules
        request_id, trace = request.request_id, request.trace
        if request_id is None or not valid_request_id(request_id):
            request_id = digits[:ID_DIGITS]
        self._request_id = request_id
        if trace is None or not valid_traceparent(trace):
            trace = b"00-%b-%b-01" % (digits[ID_DIGITS:_TRACE_END], digits[_TRACE_END:])
        pieces = [request.method, b" ", matched.target]
        if request.query:
            pieces += (b"?", request.query)
        pieces += (route.head_tail, request_id, b"\r\ntraceparent: ", trace, b"\r\n")
        if self._ready is not None:
            pieces += (b"authorization: Bearer ", self._ready.token, b"\r\n")
        if request.body or request.method in _LENGTH_EXPECTED:
            pieces.append(b"content-length: %d\r\n" % len(request.body))
        pieces += request.outgoing
        if rules.keep_cookies and request.cookie is not None:
            cookie = without_own(request.cookie)
            if cookie is not None:
                pieces += (b"cookie: ", cookie, b"\r\n")
        client = self._path.context.hop.client(self._peer, request.addresses)
        pieces += (rules.forwarding_lines(client), b"\r\n", request.body)
        return b"".join(pieces)

    def read(self, data: bytes) -> WholeResponse | None:
        """The call's answer, if these bytes are all of it and plain; else None."""
        return self._route.responses.read(data)

    def answer(self, response: WholeResponse) -> None:
        """Passes the answer on, and accounts for the call."""
        self._client.deliver(response)
        note_call(
            self._path.context,
            self._count,
            route=self._route.name,
            method=self._request.method,
            path=self._request.path,
            session=None if self._ready is None else self._ready.key,
            request_id=self._request_id,
            status=response[0],
            started=self._started,
        )

    def fall_back(self) -> None:
        """Goes on as a whole call; the connection, where there is one, has let go of it."""
        self.fell_back = True
        request, matched, connection = self._request, self._matched, self.connection
        context = self._path.context
        head = RequestHead(
            request.method,
            request.path,
            request.query,
            Fields([line.field for line in request.lines]),
            self._peer,
            len(request.body),
        )
        signed = self._ready is not None or self._reader is not None
        admitted = Admitted(matched.route, matched.target, signed)
        hop = None if connection is None else context.hop.made(head, self._digits)
        call = ForwardedCall(context, head, admitted, self._client, hop)
        self._client.fell_back(call)
        if request.body:
            call.hold(request.body)
        if connection is None:
            call.started = self._started
            call.begin()
            return
        credential = _ANONYMOUS if self._ready is None else Signed(self._ready.found)
        call.take_over(credential, connection, self._started)

    def interrupt(self) -> None:
        """Something happens on the client's side that a fast call has no answer to."""
        if self.connection is not None:
            self.connection.fall_back(self)
        elif not self.fell_back:
            self.fall_back()
