"""One forwarded call, from the client's request head to the end of the answer.

The call is a state machine between two parties that both talk in plain calls: the client's side, which a
front implements (`ClientSide`), and a backend connection (`bff.upstream.interfaces`). What has to be
awaited (session, refresh, a free connection) runs as a task of its own, one at a time.

Rule 1: exactly one answer goes to the client: the backend's, or one problem. After its head a failure
breaks the answer (`abort`); truncated data never ends cleanly.
Rule 2: a call is repeated at most once for a 401, for the nonce of a proof, a stale connection and a refused
expectation each, and only with its whole body at hand.
Rule 3: the client's leaving cancels the wait and the backend call, and never a refresh.
Rule 4: a backend call that is dropped says nothing more: every event is of the present one.
"""

from functools import partial
from typing import assert_never

from bff.credentials.credential import Anonymous, Refused, Signed, TokenOnly, holder_of, session_of
from bff.errors import Problem
from bff.open_streams import stream_lifetime
from bff.policy.admission import Denied
from bff.policy.fields import Header
from bff.policy.streaming_responses import first_tail, is_stream, tail, unbuffered
from bff.proxy.forward.after_401 import Cure, Healing, marks
from bff.proxy.forward.call_opening import OpeningCall
from bff.proxy.forward.credential_after_wait import A_WHILE, connection_for
from bff.proxy.forward.request_body import NO_BODY, RequestBody
from bff.session.rotation_policy import PassOn
from bff.upstream.connection import UpstreamConnection
from bff.upstream.connector import UpstreamFaultError
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.request_writer import UnsafeRequestError
from bff.upstream.stale_connection import sent_again

_UNAUTHORIZED = 401
_OK = 200
_ANONYMOUS = Anonymous()


class ForwardedCall(OpeningCall):
    """One call. A front makes it, calls `begin`, then feeds it; both run on one event loop.

    What can be done at once is done within `begin`: with the session in the near cache, its token good and
    a connection idle, the request is on its way to the backend when `begin` returns.
    """

    _healing: Healing | None = None  # made for the first answer that it may concern

    def hold(self, body: bytes) -> None:
        """Takes the whole body, which came with the head and fits the replay buffer; before all else."""
        self._upload = RequestBody(self._admitted.route.settings, self._client, self._body_late)
        self._client.resume_request()
        self._upload.add(body)
        self._upload.end()

    def take_over(
        self, credential: Signed | Anonymous, connection: UpstreamConnection, status: int, left: int
    ) -> None:
        """Takes over a call that was sent already, with the whole of its body; in place of `begin`.

        `status` is that of an answer whose head the client has, else 0; `left` of its bytes are to come.
        """
        self._credential, self._status = credential, status
        self._upload.take()
        self._connection = connection
        self._caller.begin()  # it is under way, whatever the limits say
        if isinstance(credential, Signed):
            self._caller.sign(credential.found.session.key)
            self._context.session_calls.begin(self, credential.found)
        self._call = connection.adopt(self.request, self, left=left if status else None)

    # From the front

    def begin(self) -> None:
        """Starts the call. The request's body may be handed over once `resume_request` is called."""
        verdict = self._verdict
        if isinstance(verdict, Denied):
            self._deny(verdict)
            return
        if not self._caller.begin():
            self._too_many("calls at once from this address")
            return
        if self.request.body_length != 0 and self._upload is NO_BODY:
            self._upload = RequestBody(verdict.route.settings, self._client, self._body_late)
        destination = self._destination
        known: Signed | Anonymous | None = _ANONYMOUS
        if destination.waits or verdict.bearer is not None:
            known = None
        elif verdict.signed:
            known = destination.credentials.session.at_hand(self.request.fields.values(b"cookie"))
        if known is None:
            self._spawn(self._open())
        elif self._sign(known):
            self._gather()

    def body(self, chunk: bytes) -> None:
        """Takes a piece of the request's body."""
        if self._finished:
            return
        if not self._upload.add(chunk):
            self._drop_call()
            self._fail(Problem.BODY_TOO_LARGE)
        elif self._call is not None:
            self._call.write(chunk)
        elif self._gathering_since is not None and self._upload.gathered:
            self._upload.hold()
            self._gathered()

    def body_end(self) -> None:
        """Notes that the request's body is complete."""
        self._upload.end()
        if self._finished:
            return
        if self._call is not None:
            self._call.finish()
        elif self._gathering_since is not None:
            self._gathered()

    def pause_answer(self) -> None:
        """Pauses the backend: the client reads slowly."""
        if self._call is not None:
            self._call.pause_answer()

    def resume_answer(self) -> None:
        """Lets the backend go on: the client has caught up."""
        if self._call is not None and self._held is None:
            self._call.resume_answer()

    # What is awaited

    async def _open_anew(self) -> None:
        """Finds the credential of a call whose body has taken a while."""
        credential = await self._destination.credentials.find(self.request, self._admitted, self._ids.client)
        if isinstance(credential, Refused):
            self._refuse(credential)
        else:
            self._go_on(credential, ())

    def _go_on(self, credential: Signed | Anonymous, added: tuple[Header, ...]) -> None:
        if added:
            self._ids = self._ids._replace(added=added)
        if credential is self._credential or self._sign(credential):
            self._gather()

    def _sign(self, credential: Signed | Anonymous) -> bool:
        """Counts the call for its session; returns False where it is one too many, and refused."""
        self._credential = credential
        holder = holder_of(credential)
        if holder is not None and not self._caller.sign(holder):
            self._too_many("calls at once from this session")
            return False
        if isinstance(credential, Signed):
            self._context.session_calls.begin(self, credential.found)
        return True

    def _gather(self) -> None:
        """Sends the call, whose credential is known, as soon as enough of its body is here."""
        if self._upload.gathered:
            self._dispatch()
        else:
            self._gathering_since = self._context.clock()
            self._upload.want()

    def _gathered(self) -> None:
        since, self._gathering_since = self._gathering_since, None
        waited = 0.0 if since is None else self._context.clock() - since
        self.times.not_ours += waited
        carries = self._admitted.signed or isinstance(self._credential, TokenOnly)
        if carries and waited > A_WHILE:  # of the body
            self._spawn(self._open_anew())
        else:
            self._dispatch()

    def _dispatch(self) -> None:
        connection = self._destination.pool.acquire_nowait(self._caller.client)
        if connection is None:
            self._spawn(self._send())
        else:
            self._send_over(connection)

    def _body_late(self) -> None:
        self._drop_call()
        self._fail(Problem.REQUEST_TIMEOUT, detail="the request's body came too slowly")

    async def _heal(self, cure: Cure) -> None:
        """Repeats the call with what may heal its 401; else lets the answer go, or refuses the call."""
        assert self._healing is not None  # it has the cure
        healed = await self._healing.heal(cure, self._admitted.route.settings.refresh_on_401)
        match healed:
            case Signed() | TokenOnly():
                self._credential = healed
                if not self._upload.replayable:  # the next call has the newer token or nonce
                    self._not_replayed = True
                    self._release()
                    return
                self._retried = True
                self._healing.repeated(cure)
                self._drop_call()
                await self._send()
            case PassOn():
                self._release()
            case Refused():
                self._drop_call()
                self._refuse(healed)
            case other:
                assert_never(other)

    async def _send(self) -> None:
        try:
            ready = await connection_for(self._destination, self._credential, self._caller.client)
        except UpstreamFaultError as failure:
            self._fault(failure.fault)
            return
        if isinstance(ready, Refused):
            self._refuse(ready)
            return
        connection, self._credential = ready
        if self._finished:
            connection.put_back()
        elif not self._upload.replayable:  # the body went on while a connection was waited for
            connection.put_back()
            self._fail(Problem.UPSTREAM_UNREACHABLE)
        else:
            self._send_over(connection)

    def _send_over(self, connection: UpstreamConnection) -> None:
        self._connection, self._body_paused = connection, False
        upload = self._upload
        at_hand, first = upload.at_hand, upload.take()
        request = self._destination.request(
            self.request, self._admitted, self._ids, self._credential, at_hand=at_hand
        )
        self.times.sent(self._context.clock())
        try:
            self._call = connection.start(request, self, first=first)
        except UnsafeRequestError as unsafe:
            self._fail(Problem.BAD_REQUEST, detail=str(unsafe))
            return
        if upload.complete:
            self._call.finish()
        elif not self._body_paused:
            upload.want()

    # From the backend's connection (`ResponseSink`)

    def head(self, status: int, headers: list[Header]) -> None:
        """Passes the backend's head on; a 401 that may be healed is held back, with one read's worth."""
        cure = None
        if status == _UNAUTHORIZED or self._destination.identity.proofs is not None:
            self._healing = self._healing or Healing(self._context, self._destination)
            cure = self._healing.cure_of(status, headers, self._credential)
        if cure is None:
            self.times.head(self._context.clock())
            self.answer(status, headers)
            return
        self.times.over(self._context.clock())
        self._held = [partial(self.answer, status, headers)]
        self.pause_answer()
        self._upload.hold()
        self._spawn(self._heal(cure))

    def data(self, chunk: bytes) -> None:
        """Passes a piece of the answer on."""
        if self._held is not None:
            self._held.append(partial(self.data, chunk))
        elif not self._finished:
            if self._tail is not None:
                self._tail = tail(self._tail, chunk)
            self._client.send_data(chunk)

    def end(self) -> None:
        """Ends the answer."""
        if self._held is not None:
            self._held.append(self.end)
        elif not self._finished:
            self._finish()
            self._client.send_end()

    def error(self, fault: Fault) -> None:
        """Sends a call that failed again where that is safe, else answers with the fault."""
        if self._held is not None:
            self._held.append(partial(self.error, fault))
            return
        self.times.over(self._context.clock())
        refused = fault.kind is FaultKind.EXPECTATION  # not twice: nothing is expected of this backend now
        again = refused or (self._upload.replayable and sent_again(fault, self._repeats))
        if self._status or not again:
            self._fault(fault)
            return
        if refused:
            self._upload.restart(fault.unsent)
        else:
            self._repeats += 1
        self._call = None
        self._upload.hold()
        self._spawn(self._send())

    def pause_body(self) -> None:
        """Makes the client wait: the backend takes no more of the request's body for now."""
        self._body_paused = True
        self._upload.hold()

    def resume_body(self) -> None:
        """Lets the client go on with the request's body."""
        self._body_paused = False
        if not self._finished and self._held is None:
            self._upload.want()

    # Answers

    def answer(self, status: int, headers: list[Header]) -> None:
        """Begins the client's answer with the backend's head."""
        stream = status == _OK and is_stream(headers)
        if stream and not self._stream():
            return
        rendered = self._destination.rules.response(status, headers)
        if stream:
            rendered = unbuffered(rendered)
        if status == _UNAUTHORIZED:
            rendered += marks(self._credential, not_replayed=self._not_replayed)
        self._status = status
        self._client.send_head(status, rendered)
        if stream and self.request.method != b"HEAD":
            self._tail = first_tail(headers)
            self._lasts()
        if self._tail is not None:
            lasts = stream_lifetime(session_of(self._credential), self._context.bound_stream_lifetime)
            self._context.event_streams.begin(self, lasts)

    def _stream(self) -> bool:
        """Counts the answer as a stream; where there are too many, refuses the call and returns False."""
        if not self._caller.stream():
            reason = "streams at once from this session or address"
        elif self._connection is not None and not self._destination.pool.stream(self._connection):
            reason = "streams at once from this backend"
        else:
            return True
        self._drop_call()
        self._too_many(reason)
        return False

    def _release(self) -> None:
        """Lets an answer that was held back go to the client after all."""
        held, self._held = self._held or [], None
        for step in held:
            step()
        self.resume_answer()
        if not self._finished and not self._body_paused:
            self._upload.want()
