"""Plain calls: nothing to wait for on the way out, nothing to decide on the way back.

Most of an SPA's calls are such: no body, the session in the near cache and its token good, a connection idle,
and the whole answer in one read. What they need is known before they come (`RequestTemplate`), so that a call
is one write to the backend, and its answer one to the client.

Rule 1: a call is plain for as long as nothing else happens. Whatever does (the client leaves or reads slowly,
the answer comes in pieces, late, as a 401 or not at all, the connection breaks) makes it fall back: a
`ForwardedCall` takes over as if it had made the call itself, and hears of the event.
Rule 2: nothing is judged here. `RequestTemplate` holds what admission, header rules and framing made of these
very fields and this request line; the session is asked for on each call.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from bff.observe.logs import AccessLine
from bff.policy.admission import Admitted, RequestHead
from bff.proxy.forward.context import ClientSide, ForwardingContext, Sent
from bff.proxy.forward.credentials import Anonymous, Signed
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.request_ids import ID_DIGITS
from bff.proxy.forward.response_templates import ResponseTemplates
from bff.proxy.forward.upstream_request import outgoing
from bff.proxy.upstream.connection import UpstreamConnection
from bff.proxy.upstream.request_writer import UnsafeRequestError, request_head
from bff.session.batch_reader import Loaded
from bff.session.sessions import Found

F = TypeVar("F")
Answer = tuple[int, list[F], bytes]

_ONE_CALLS_OWN = (b"x-request-id", b"traceparent", b"tracestate")
"""A client that sends these sends others with its next call."""


_TRACE_END = ID_DIGITS + 32
_ANONYMOUS = Anonymous()


class RequestTemplate(Generic[F]):
    """What the calls with the same fields and the same request line have in common.

    Attributes:
        found: the session that the next call goes with; None where none does.
        line: its access line; None where none is written.
        reader: how to read the session where none is kept at hand.
    """

    __slots__ = (
        "_bearer",
        "_head",
        "_holder",
        "_look_up",
        "_now",
        "_pool",
        "_quiet_until",
        "_until",
        "admitted",
        "answers",
        "count",
        "found",
        "line",
        "parts",
        "reader",
        "request",
    )

    def __init__(
        self,
        parts: ForwardingContext,
        request: RequestHead,
        admitted: Admitted,
        answers: ResponseTemplates[F],
        *,
        head: bytes,
        address: str,
    ) -> None:
        route = admitted.route
        destination = parts.destinations[route.path]
        credentials = destination.credentials
        self.parts = parts
        self.request = request
        self.admitted = admitted
        self.answers = answers
        self.count = parts.metrics.requests(route.settings.path, request.method.decode("ascii")).add
        self._head = head
        self._pool = destination.pool
        self._holder = destination.pool.holder(address)  # the session's, once there is one
        self._quiet_until = credentials.quiet_until
        self._now = credentials.clock
        cookies = request.fields.values(b"cookie")
        self.reader = credentials.reader(cookies) if admitted.signed else None
        self._look_up = credentials.look_up(cookies) if admitted.signed else None
        self._until = -math.inf if admitted.signed else math.inf
        self._bearer = b""
        self.found: Found | None = None
        self.line = self._access_line()

    def connection(self) -> UpstreamConnection | None:
        """An idle connection for a call that can be made now; None where there is something to wait for."""
        return self.connection_for(None if self._look_up is None else self._look_up())

    def connection_for(self, found: Found | None) -> UpstreamConnection | None:
        """The same with a session that was found."""
        if found is not self.found:
            self._sign(found)
        if self._now() >= self._until:
            return None
        connection = self._pool.acquire_nowait(self._holder)
        return None if connection is None or connection.closing else connection

    def head(self, digits: bytes) -> bytes:
        """The head of one call, with the token of `found`; `digits` are its random ones."""
        return b"%bx-request-id: %b\r\ntraceparent: 00-%b-%b-01\r\n%b\r\n" % (
            self._head,
            digits[:ID_DIGITS],
            digits[ID_DIGITS:_TRACE_END],
            digits[_TRACE_END:],
            self._bearer,
        )

    def _sign(self, found: Found | None) -> None:
        self.found, self._bearer = found, b""
        if found is None:  # the token of a session that has ended is not kept
            self._until = -math.inf
            return
        self._holder = self._pool.holder(found.session.key)
        token = found.session.tokens.access_token.encode()
        safe = not (b"\r" in token or b"\n" in token or b"\0" in token)  # else the exchange's to refuse
        self._bearer = b"authorization: Bearer " + token + b"\r\n"
        self._until = self._quiet_until(found) if safe else -math.inf
        self.line = self._access_line()

    def _access_line(self) -> AccessLine | None:
        if not self.parts.access_log:
            return None
        request = self.request
        return AccessLine(
            request.method.decode("ascii"),
            request.raw_path.decode("ascii", "backslashreplace"),
            self.admitted.route.settings.path,
            None if self.found is None else self.found.session.id,
        )


def prepare(
    parts: ForwardingContext, request: RequestHead, admitted: Admitted, answers: ResponseTemplates[F]
) -> RequestTemplate[F] | None:
    """Prepares for calls like this one; None where they are not plain, or no two are alike."""
    if request.body_length != 0 or request.method == b"HEAD":
        return None
    if any(request.fields.values(name) for name in _ONE_CALLS_OWN):
        return None
    rules = parts.destinations[admitted.route.path].rules
    try:
        hop = parts.hop(request)
        first = outgoing(request, admitted, hop, _ANONYMOUS, rules, at_hand=True)
        head = request_head(first._replace(headers=()))
    except UnsafeRequestError:
        return None
    return RequestTemplate(parts, request, admitted, answers, head=head[:-2], address=hop.client)


class FastClient(ClientSide, Protocol):
    """The client's side of a plain call that has become a whole one."""

    exchange: ForwardedCall


class FastCall(ABC, Generic[F]):
    """One plain call; its front says how the answer reaches the client.

    Attributes:
        connection: the one that carries it; None while its session is yet to be read, by the `reader`.
        unfolded: it has become a whole call.
    """

    __slots__ = ("_digits", "_found", "_started", "connection", "fell_back", "prepared")

    def __init__(self, prepared: RequestTemplate[F], connection: UpstreamConnection | None) -> None:
        self.prepared = prepared
        self.connection = connection
        self.fell_back = False

    def send(self) -> None:
        """Sends it, its session read first if need be; answer or unfolding may come before this returns."""
        self._started = self.prepared.parts.clock()
        if self.connection is not None:
            self._go(self.connection)
        else:
            assert self.prepared.reader is not None
            self.prepared.reader.ask().add_done_callback(self._fetched)

    def _fetched(self, answer: asyncio.Future[Loaded]) -> None:
        prepared = self.prepared
        if self.fell_back:
            if not answer.cancelled():
                answer.exception()  # the whole call hears of it by itself
            return
        assert prepared.reader is not None
        found = prepared.reader.found(answer)
        self.connection = None if found is None else prepared.connection_for(found)
        if self.connection is None:
            self.fall_back()
        else:
            self._go(self.connection)

    def _go(self, connection: UpstreamConnection) -> None:
        prepared = self.prepared
        self._found = prepared.found
        self._digits = digits = prepared.parts.hop.draw()
        connection.carry(self, prepared.head(digits))

    def read(self, data: bytes) -> Answer[F] | None:
        """What came as its answer, if it is all there and plain; else None."""
        return self.prepared.answers.read(data)

    def answer(self, answer: Answer[F]) -> None:
        """Passes the answer on, and accounts for the call."""
        status = answer[0]
        self.deliver(answer)
        prepared = self.prepared
        seconds = prepared.parts.clock() - self._started
        prepared.count(status, seconds)
        if prepared.line is not None:
            prepared.line.note(status, seconds, self._digits[:ID_DIGITS].decode())

    def fall_back(self) -> None:
        """Goes on as a whole call; the connection, where there is one, has let go of it."""
        self.fell_back = True
        prepared = self.prepared
        parts, request, connection = prepared.parts, prepared.request, self.connection
        client = self.client_side()
        exchange = client.exchange = ForwardedCall(parts, request, prepared.admitted, client)
        if connection is None:
            exchange.started = self._started
            exchange.begin()
            return
        hop = parts.hop.made(request, self._digits)
        credential = _ANONYMOUS if self._found is None else Signed(self._found)
        exchange.take_over(Sent(hop, credential, connection, self._started))

    def interrupt(self) -> None:
        """Something happens at the front that a plain call has no answer to."""
        if self.connection is not None:
            self.connection.fall_back(self)
        elif not self.fell_back:
            self.fall_back()

    @abstractmethod
    def deliver(self, answer: Answer[F]) -> None:
        """Hands the client its answer, whole."""

    @abstractmethod
    def client_side(self) -> FastClient:
        """What takes this call's place at its front."""
