"""One forwarded call, from the client's request head to the end of the answer.

The exchange is a state machine between two parties that both talk in plain calls: the client's side, which
a front implements (`ClientSide`), and a backend connection (`bff.proxy.sinks`). What has to be awaited
(session, refresh, a free connection) runs as a task of its own, one at a time.

Rule 1: exactly one answer goes to the client: the backend's, or one problem. After its head a failure
breaks the answer (`abort`); truncated data never ends cleanly.
Rule 2: a call is repeated at most once for a 401, a stale connection and a refused expectation each, and only
with its whole body at hand.
Rule 3: the client's leaving cancels the wait and the backend call, and never a refresh.
Rule 4: what an attempt says that is no longer the present one is ignored.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, assert_never

from bff.errors import Problem
from bff.observe.logs import audit, get_logger
from bff.policy.admission import Admitted, Denied, RequestHead
from bff.policy.navigation import navigates
from bff.problems import problem_response
from bff.proxy.accounting import CLIENT_GONE, note_call
from bff.proxy.attempt import Attempt
from bff.proxy.connection import UpstreamConnection
from bff.proxy.credentials import Anonymous, Refused, Signed
from bff.proxy.dial import UpstreamFaultError
from bff.proxy.framing import UnsafeRequestError
from bff.proxy.outgoing import outgoing
from bff.proxy.parts import ClientSide, Destination, ExchangeParts, Sent
from bff.proxy.replay import ReplayBuffer
from bff.proxy.sinks import Fault, FaultKind, Header
from bff.session.plan import PassOn

_UNAUTHORIZED = 401
_FAULTS = {FaultKind.TIMEOUT: Problem.UPSTREAM_TIMEOUT, FaultKind.INVALID: Problem.UPSTREAM_INVALID}

_NO_BODY = ReplayBuffer(0)
_ANONYMOUS = Anonymous()
_log = get_logger("bff.exchange")


class Exchange:
    """One call. A front makes it, calls `begin`, then feeds it; both run on one event loop.

    What can be done at once is done within `begin`: with the session in the near cache, its token good and
    a connection idle, the request is on its way to the backend when `begin` returns.
    """

    __slots__ = (
        "_attempt",
        "_body_complete",
        "_client",
        "_credential",
        "_early",
        "_finished",
        "_hop",
        "_not_replayed",
        "_parts",
        "_received",
        "_replay",
        "_resent",
        "_retried_401",
        "_sent",
        "_status",
        "_task",
        "_verdict",
        "admitted",
        "request",
        "started",
    )

    def __init__(
        self, parts: ExchangeParts, request: RequestHead, verdict: Admitted | Denied, client: ClientSide
    ) -> None:
        self._parts = parts
        self.request = request
        self._client = client
        self.started = parts.clock()
        self._hop, self._verdict = parts.hop(request), verdict
        self.admitted = verdict if isinstance(verdict, Admitted) else None
        self._task: asyncio.Task[None] | None = None
        self._attempt: Attempt | None = None
        self._replay = _NO_BODY
        self._credential: Signed | Anonymous = _ANONYMOUS
        self._received = 0
        self._sent = False  # to a backend, at least once
        self._early: list[bytes] = []  # what came of the body before that: one read's worth
        self._body_complete = request.body_length == 0
        self._status = 0
        self._finished = False
        self._retried_401 = False
        self._resent = False
        self._not_replayed = False

    def take_over(self, sent: Sent) -> None:
        """In the place of `begin`: a call without a body that has been sent already."""
        assert self.admitted is not None
        self.started, self._hop, self._credential = sent.started, sent.hop, sent.credential
        self._sent = True
        rules = self._parts.destinations[self.admitted.route.path].rules
        request = outgoing(self.request, self.admitted, self._hop, self._credential, rules, at_hand=True)
        self._attempt = Attempt(self)
        self._attempt.call = sent.connection.adopt(request, self._attempt)

    # From the front

    def begin(self) -> None:
        """Starts the exchange. The request's body may be handed over once `resume_request` is called."""
        verdict = self._verdict
        if isinstance(verdict, Denied):
            self._deny(verdict)
            return
        if not self._body_complete:
            self._client.pause_request()
            self._replay = ReplayBuffer(verdict.route.settings.replay_buffer)
        destination = self._parts.destinations[verdict.route.path]
        if verdict.signed:
            known = destination.credentials.at_hand(self.request.fields.values(b"cookie"))
            if known is None:
                self._spawn(self._open(verdict))
                return
            self._credential = known
        if (connection := destination.pool.acquire_nowait()) is None:
            self._spawn(self._send(verdict))
        else:
            self._send_over(connection, verdict, destination)

    def body(self, chunk: bytes) -> None:
        """Takes a piece of the request's body."""
        if self._finished or self.admitted is None:
            return
        self._received += len(chunk)
        if self._received > self.admitted.route.settings.max_body:
            self._drop_attempt()
            self._fail(Problem.BODY_TOO_LARGE)
            return
        self._replay.add(chunk)
        if self._attempt is not None:
            self._attempt.write(chunk)
        elif not self._sent:
            self._early.append(chunk)

    def body_end(self) -> None:
        """The request's body is complete."""
        self._body_complete = True
        if self._attempt is not None and not self._finished:
            self._attempt.finish()

    def pause_answer(self) -> None:
        """The client reads slowly."""
        if self._attempt is not None:
            self._attempt.pause_answer()

    def resume_answer(self) -> None:
        """The client has caught up."""
        if self._attempt is not None:
            self._attempt.resume_answer()

    def client_gone(self) -> None:
        """The client has left: nothing more is sent to it."""
        if not self._finished:
            self._finish(gone=True)
        if self._task is not None:
            self._task.cancel()
        self._drop_attempt()

    # What is awaited

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        self._task = self._parts.tasks.spawn(step, name="exchange")
        self._task.add_done_callback(self._step_done)

    def _step_done(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours in a step, which `Tasks` has logged, leaves no client waiting."""
        if not task.cancelled() and task.exception() is not None:
            self._drop_attempt()
            self._fail(Problem.INTERNAL_ERROR)

    async def _open(self, admitted: Admitted) -> None:
        if admitted.signed:
            required = admitted.route.settings.auth == "required"
            credentials = self._parts.destinations[admitted.route.path].credentials
            credential = await credentials.obtain(
                self.request.fields.values(b"cookie"), address=self._hop.client, required=required
            )
            if isinstance(credential, Refused):
                self._refuse(credential)
                return
            self._credential = credential
        await self._send(admitted)

    async def _send(self, admitted: Admitted) -> None:
        destination = self._parts.destinations[admitted.route.path]
        required = admitted.route.settings.auth == "required"
        try:
            ready = await destination.connection_for(self._credential, required=required)
        except UpstreamFaultError as failure:
            self._fault(failure.fault)
            return
        if isinstance(ready, Refused):
            self._refuse(ready)
            return
        connection, self._credential = ready
        if self._sent and not self._replay.replayable:  # the body went on while a connection was waited for
            connection.put_back()
            self._fail(Problem.UPSTREAM_UNREACHABLE)
            return
        self._send_over(connection, admitted, destination)

    def _send_over(
        self, connection: UpstreamConnection, admitted: Admitted, destination: Destination
    ) -> None:
        attempt = self._attempt = Attempt(self)
        first = b"".join(self._replay.chunks() if self._sent else self._early)
        self._sent, self._early = True, []
        try:
            at_hand = self._body_complete and self._replay.replayable
            request = outgoing(
                self.request, admitted, self._hop, self._credential, destination.rules, at_hand=at_hand
            )
        except UnsafeRequestError as unsafe:
            connection.put_back()
            self._fail(Problem.BAD_REQUEST, detail=str(unsafe))
            return
        try:
            attempt.call = connection.start(request, attempt, first=first)
        except UnsafeRequestError as unsafe:
            self._fail(Problem.BAD_REQUEST, detail=str(unsafe))
            return
        if self.request.body_length == 0:
            return
        if self._body_complete:
            attempt.finish()
        elif not attempt.body_paused:
            self._client.resume_request()

    async def _renew(self, admitted: Admitted, signed: Signed, *, invalid_token: bool) -> None:
        renewed = await self._parts.destinations[admitted.route.path].credentials.renew(
            signed, invalid_token=invalid_token, mode=admitted.route.settings.refresh_on_401
        )
        match renewed:
            case Signed():
                self._credential = renewed
                if self._replay.replayable:
                    self._retried_401 = True
                    self._parts.metrics.retried(admitted.route.settings.path)
                    self._drop_attempt()
                    await self._send(admitted)
                else:
                    self._not_replayed = True
                    self._release_held()
            case PassOn():
                self._release_held()
            case Refused():
                self._drop_attempt()
                self._refuse(renewed)
            case other:
                assert_never(other)

    # From the attempt

    def on_head(self, status: int, headers: list[Header]) -> bool:
        """Takes the backend's head; True if the answer is to be held back for now."""
        admitted, signed = self.admitted, self._credential
        assert admitted is not None
        if status == _UNAUTHORIZED and isinstance(signed, Signed) and not self._retried_401:
            if not self._body_complete:
                self._client.pause_request()
            invalid_token = any(name == b"www-authenticate" and b"invalid_token" in v for name, v in headers)
            self._spawn(self._renew(admitted, signed, invalid_token=invalid_token))
            return True
        self.answer(status, headers)
        return False

    def on_data(self, chunk: bytes) -> None:
        """Passes a piece of the answer on."""
        if not self._finished:
            self._client.send_data(chunk)

    def on_end(self) -> None:
        """Ends the answer."""
        if not self._finished:
            self._finish()
            self._client.send_end()

    def on_fault(self, fault: Fault) -> None:
        """The attempt failed: send it again where that is safe, else say so."""
        admitted = self.admitted
        again = fault.kind is FaultKind.EXPECTATION
        if again:  # not twice: the connection expects nothing of this backend now
            self._sent, self._early = False, list(fault.unsent)
        elif fault.kind is FaultKind.STALE and fault.safe_to_resend and self._replay.replayable:
            again, self._resent = not self._resent, True
        if again and admitted is not None and not self._status:
            self._attempt = None
            if not self._body_complete:
                self._client.pause_request()
            self._spawn(self._send(admitted))
            return
        self._fault(fault)

    def on_flow(self, *, paused: bool) -> None:
        """Passes the backend's flow control on to the client's side."""
        if paused:
            self._client.pause_request()
        elif not self._body_complete and not self._finished:
            self._client.resume_request()

    # Answers

    def answer(self, status: int, headers: list[Header]) -> None:
        """Begins the client's answer with the backend's head."""
        admitted = self.admitted
        assert admitted is not None
        rendered = self._parts.destinations[admitted.route.path].rules.response(status, headers)
        if status == _UNAUTHORIZED and isinstance(self._credential, Signed):
            rendered.append((b"bff-upstream", b"1"))
            if self._not_replayed:
                rendered.append((b"bff-retry", b"1"))
        self._status = status
        self._client.send_head(status, rendered)

    def _release_held(self) -> None:
        if self._attempt is not None and not self._finished:
            self._attempt.release()

    def _deny(self, denied: Denied) -> None:
        headers: list[Header] = []
        if denied.problem is Problem.METHOD_NOT_ALLOWED and denied.route is not None:
            headers.append((b"allow", denied.route.allow))
        detail, reason = denied.detail, None
        if denied.problem is Problem.CSRF_REJECTED:
            reason = denied.reason
            audit("csrf_rejected", address=self._hop.client, reason=reason)
        if denied.problem is Problem.BAD_REQUEST:
            detail = denied.reason
            _log.info("refused", reason=detail, request_id=self._hop.request_id.decode())
        self._fail(denied.problem, headers=headers, detail=detail, reason=reason)

    def _refuse(self, refused: Refused) -> None:
        self._fail(refused.problem, reason=refused.reason, retry_after=refused.retry_after)

    def _fault(self, fault: Fault) -> None:
        route = self._route_name()
        self._parts.metrics.upstream_failed(route, fault.kind.value)
        _log.warning(
            "upstream_fault",
            route=route,
            kind=fault.kind.value,
            detail=fault.detail,
            request_id=self._hop.request_id.decode(),
        )
        self._drop_attempt()
        self._fail(_FAULTS.get(fault.kind, Problem.UPSTREAM_UNREACHABLE))

    def _fail(self, problem: Problem, *, headers: list[Header] | None = None, **extra: Any) -> None:
        if self._finished:
            return
        if self._status:
            self._finish()
            self._client.abort()
            return
        self._parts.metrics.problem_sent(problem)
        extra |= {"headers": headers or [], "page": navigates(self.request.fields.headers)}
        status, rendered, body = problem_response(problem, **extra)
        self._status = status
        self._finish()
        self._client.send_head(status, rendered)
        self._client.send_data(body)
        self._client.send_end()

    # Bookkeeping

    def _drop_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    def _route_name(self) -> str:
        return "-" if self.admitted is None else self.admitted.route.settings.path

    def _finish(self, *, gone: bool = False) -> None:
        self._finished = True
        note_call(
            self._parts,
            self.request,
            self._route_name(),
            self._credential,
            status=CLIENT_GONE if gone else self._status,
            started=self.started,
            request_id=self._hop.request_id,
            retried=self._retried_401,
        )
