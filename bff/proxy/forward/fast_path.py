"""The fast path: calls with nothing to wait for on the way out, and nothing to decide on the way back.

Most of an SPA's calls are such: the whole request came in one read, the session is in the near cache and its
token good, a connection is idle, and the answer has a length and is read by its client as it comes. Such a
call is one small object, one write to the backend and one to the client for each read. No two need be alike.

Rule 1: a call stays on the fast path for as long as nothing else happens. At any other event (the client
leaves or reads slowly, the answer comes late, in chunks, as a 401 or not at all, the connection breaks) it
falls back: a `ForwardedCall` takes over as if it had made the call itself, and is told of the event. It goes
on within an answer that has begun.
Rule 2: a request is on it only where it is allowed beyond doubt. One that would be refused takes the other
way, which knows how to say so: every refusal has one home.
Rule 3: a backend gets exactly the request that the forwarder would send; a test holds the two together.
"""

from collections.abc import Callable
from typing import Protocol

from bff.credentials.credential import Anonymous, Ready, Signed
from bff.policy.admission import Admitted, RequestHead
from bff.policy.cookie_names import without_own
from bff.policy.csrf import Guard
from bff.policy.header_rules import RequestIds
from bff.policy.routes import Matched, RouteTable
from bff.policy.trace_context import valid_request_id, valid_traceparent
from bff.proxy.forward.call_accounting import note_call
from bff.proxy.forward.client_side import ClientSide
from bff.proxy.forward.fast_route import FastRoute
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.proxy.server.plain_request import PlainRequest
from bff.request_ids import ID_DIGITS
from bff.session.cached_session import CachedSession
from bff.session.session_reader import Then
from bff.upstream.connection import UpstreamConnection

_TRACE_END = ID_DIGITS + 32
_ANONYMOUS = Anonymous()
_LENGTH_EXPECTED = frozenset({b"POST", b"PUT", b"PATCH"})


class FastClient(ClientSide, Protocol):
    """The connection that a fast call came on, and the client's side of the call that it falls back to."""

    def pass_on(self, status: int, lines: list[bytes] | None, content: bytes | memoryview) -> None:
        """Writes header lines, unless they are written already, and a piece of the content."""

    def deliver(self, status: int, lines: list[bytes] | None, content: bytes | memoryview) -> None:
        """Writes the last of the answer likewise: the call is over."""

    def fell_back(self, call: ForwardedCall, *, begun: bool) -> None:
        """Replaces the fast call by this one; `begun` where the head of its answer is written."""


class FastPath:
    """The fast path of a frontend."""

    __slots__ = ("_by_number", "_calls", "_routes", "context")

    def __init__(
        self,
        *,
        context: ForwardingContext,
        routes: RouteTable,
        guard: Guard,
        calls: type["FastCall"] | None = None,
    ) -> None:
        self.context = context
        self._routes = routes
        self._calls = calls or FastCall
        self._by_number = tuple(
            # else lines fare otherwise than `LineCache` says, or there is something to wait for
            None
            if route.settings.pass_request_headers or context.destinations[route.path].waits
            else FastRoute(route, context.destinations[route.path], context, guard)
            for route in routes.routes
        )

    def begin(  # noqa: PLR0911 - one way out for each doubt
        self, request: PlainRequest, peer: str, client: FastClient
    ) -> "FastCall | None":
        """Returns the call of a request that `LineCache` has read, not yet sent; None for the other path."""
        matched = self._routes.match(request.path)
        if not isinstance(matched, Matched):
            return None
        route = self._by_number[matched.route.number]
        if route is None:
            return None
        shared = route.shared
        method = shared.methods.get(request.method)
        if method is None or len(request.body) > shared.longest_body:
            return None
        if shared.takes_bearer and request.authorized:
            return None
        if request.origin is None:
            verdicts = method.plain
        elif request.origin == route.origin:
            verdicts = method.of_own_page
        else:
            return None
        signed = verdicts.get(tuple(request.guarded))
        if signed is None and (signed := route.judge(request, verdicts)) is None:
            return None
        calls = self._calls
        call = calls(route, matched, request, peer, client)
        if not signed:
            return call if call.take_connection() else None
        if request.cookie is None:
            return None
        call.ready = route.credentials.ready(request.cookie)
        if call.ready is not None:
            return call if call.take_connection() else None
        # The session is not in the near cache: the call reads it first.
        call.reader = route.credentials.reader(request.cookie) if shared.pool.has_idle else None
        return None if call.reader is None else call


class FastCall:
    """One call on the fast path.

    It has slots: of a class whose instances differ in what they have, Python gives each one a dictionary.

    Attributes:
        ready: its session; None for a call without one, and until the session has been read.
        reader: reads the session, where it is not in the near cache.
        connection: the one that carries it; None while its session is being read.
        fell_back: a `ForwardedCall` has taken over.
    """

    __slots__ = (
        "_answered", "_client", "_digits", "_ended", "_last", "_left", "_matched", "_of_client", "_peer",
        "_request", "_request_id", "_route", "_sent", "_session", "_shared", "_started", "_status",
        "connection", "fell_back", "has_body", "reader", "ready",
    )  # fmt: skip

    _last: tuple[list[bytes] | None, bytes | memoryview]  # header lines not written yet, and last content

    def __init__(
        self, route: FastRoute, matched: Matched, request: PlainRequest, peer: str, client: FastClient
    ) -> None:
        self._route = route
        self._matched = matched
        self._request = request
        self._peer = peer
        self._client = client
        self._shared = shared = route.shared
        if request.addresses:
            self._of_client = shared.request_ids.lines(peer, request.addresses)
        else:
            self._of_client = shared.of_peers.get(peer) or shared.direct(peer)
        self.has_body = bool(request.body)
        self.fell_back = False
        self.ready: Ready | None = None
        self.reader: Callable[[Then], None] | None = None
        self.connection: UpstreamConnection | None = None
        self._session: str | None = None  # its key
        self._status = 0  # of an answer whose head has come
        self._left = 0  # bytes of its content that are still to come
        clock = route.clock
        self._started = clock()

    def take_connection(self) -> bool:
        """Takes an idle connection; returns False where there is none for this client."""
        if self.ready is not None:
            client = self._session = self.ready.key
        else:
            client = self._shared.request_ids.client(self._peer, self._request.addresses)
        connection = self._shared.pool.acquire_nowait(client)
        if connection is None or connection.closing():
            return False
        self.connection = connection
        return True

    def send(self) -> None:
        """Sends it, its session read first if need be; answer or fall-back may come before this returns."""
        connection = self.connection
        if connection is None:
            assert self.reader is not None
            self.reader(self._fetched)
            return
        draw, clock = self._shared.request_ids.draw, self._route.clock
        self._digits = digits = draw()
        head = self._head(digits)
        self._sent = clock()
        connection.carry(self, head)

    def _fetched(self, found: CachedSession | None) -> None:
        if self.fell_back:
            return  # the whole call finds it out by itself
        self.ready = self._route.credentials.quiet(found)
        if self.ready is not None and self.take_connection():
            self.send()
        else:
            self.fall_back()

    def _head(self, digits: bytes) -> bytes:
        """Returns the request's head and body as they go to the backend."""
        request, route, matched, shared = self._request, self._route, self._matched, self._shared
        request_id, trace = request.request_id, request.trace
        if request_id is None or not valid_request_id(request_id):
            request_id = digits[:ID_DIGITS]
        self._request_id = request_id
        pieces = [request.method, b" ", matched.target]
        if request.query:
            pieces += (b"?", request.query)
        pieces += (shared.head_tail, request_id, b"\r\ntraceparent: ")
        if trace is None or not valid_traceparent(trace):
            pieces += (b"00-", digits[ID_DIGITS:_TRACE_END], b"-", digits[_TRACE_END:], b"-01\r\n")
        else:
            pieces += (trace, b"\r\n")
        if self.ready is not None and shared.usual:
            pieces += (b"authorization: Bearer ", self.ready.token, b"\r\n")
        elif self.ready is not None:
            pieces += route.destination.identity.lines(self.ready, request.method, matched.target)
        if request.body or request.method in _LENGTH_EXPECTED:
            pieces.append(b"content-length: %d\r\n" % len(request.body))
        pieces += request.outgoing if not shared.selective else route.passing(request)
        if shared.keep_cookies and request.cookie is not None:
            cookie = without_own(request.cookie)
            if cookie is not None:
                pieces += (b"cookie: ", cookie, b"\r\n")
        pieces += (self._of_client, route.forwarding_end, request.body)
        return b"".join(pieces)

    def read(self, data: bytes) -> int | None:
        """Takes a read of the answer; returns the number of bytes still to come, None where it is not plain.

        A part of the content is passed on here, the last part by `end`.
        """
        clock = self._route.clock
        self._ended = clock()
        if self._status:
            lines: list[bytes] | None = None
            content: bytes | memoryview = data
            left = self._left - len(data)
        else:
            self._answered = self._ended
            response = self._route.responses.read(data)
            if response is None:
                return None
            self._status, lines, content, left = response
        if left > 0:
            self._left = left
            self._client.pass_on(self._status, lines, content)
        elif left == 0:
            self._last = lines, content
        return None if left < 0 else left

    def end(self) -> None:
        """Passes the end of the answer on, and accounts for the call."""
        lines, content = self._last
        self._client.deliver(self._status, lines, content)
        route, request = self._route, self._request
        shared = self._shared
        note_call(
            route,
            route.requests[shared.methods[request.method].place],
            shared.name,
            request.method,
            request.path,
            self._session,
            self._request_id,
            self._status,
            self._started,
            self._answered - self._sent,
            self._ended - self._sent,
            False,
            self.ready,
        )

    def fall_back(self) -> None:
        """Goes on as a whole call; the connection, where there is one, has let go of it."""
        self.fell_back = True
        request, matched, connection = self._request, self._matched, self.connection
        context = self._route.context
        head = request.head().request(self._peer)
        signed = self.ready is not None or self.reader is not None
        admitted = Admitted(matched.route, matched.target, signed)
        ids = None if connection is None else context.request_ids.made(head, self._digits)
        call = self._whole(head, admitted, ids)
        call.started = self._started
        if connection is not None:
            call.times.sent(self._sent)
            if self._status:
                call.times.head(self._answered)
        self._client.fell_back(call, begun=self._status != 0)
        if request.body:
            call.hold(request.body)
        if connection is None:
            call.begin()
            return
        credential = _ANONYMOUS if self.ready is None else Signed(self.ready.found)
        call.take_over(credential, connection, self._status, self._left)

    def _whole(self, head: RequestHead, admitted: Admitted, ids: RequestIds | None) -> ForwardedCall:
        return ForwardedCall(self._route.context, head, admitted, self._client, ids)

    def interrupt(self) -> None:
        """Falls back, because of an event on the client's side."""
        if self.connection is not None:
            self.connection.fall_back(self)
        elif not self.fell_back:
            self.fall_back()
