"""The forwarding of WebSockets: the upgrade with a bearer, then messages both ways while the session lives.

The order is that of every call: admission (here: the exact origin), session, token, backend; the client's
handshake is answered last, by the backend's answer.

Rule 1: a client's socket opens only after the backend's has; until then a failure is an HTTP answer.
Rule 2: the session, or the client's own token, is watched from before the backend is called; its end closes
the socket with 4401, and a rotation does not touch it.
Rule 3: a client that leaves while the backend is being called ends that call, and never a rotation.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection
from websockets.frames import CloseCode

from bff.credentials.credential import Anonymous, Refused, Signed, TokenOnly, holder_of, session_of
from bff.errors import Problem
from bff.observe.logs import get_logger
from bff.open_streams import OpenStreams, stream_lifetime
from bff.policy.admission import Admitted, Denied, admit_upgrade
from bff.policy.bounded_counts import Counts
from bff.policy.csrf import Guard
from bff.policy.fields import Header
from bff.policy.header_rules import RequestIds
from bff.policy.routes import RouteTable
from bff.policy.websocket_subprotocols import kept, well_formed
from bff.proxy.forward.after_401 import Healing, marks
from bff.proxy.forward.asgi_app import request_head
from bff.proxy.forward.call_accounting import CLIENT_GONE, note_call, note_denied, note_fault
from bff.proxy.forward.credential_after_wait import asked
from bff.proxy.forward.error_answer import problem_answer
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.proxy.websocket.relay import WebSocketRelay
from bff.session.expiry_watch import ExpiryWatch, Watched
from bff.session.rotation_policy import PassOn
from bff.session.sessions import NoSession
from bff.upstream.connector import UpstreamFaultError
from bff.upstream.request_writer import UnsafeRequestError
from bff.upstream.websocket_connector import Answered, open_socket, response_fields

Over = asyncio.Future[NoSession] | asyncio.Future[Refused]
"""The end of what a socket hangs on: its session, or the client's own token."""

_SWITCHING, _UNAUTHORIZED = 101, 401
_log = get_logger("bff.websocket")


@dataclass(eq=False, kw_only=True)
class WebSocketForwarding:
    """The ASGI application that forwards WebSockets. `ping` is in seconds.

    The sockets of a `former` one count on.
    """

    context: ForwardingContext
    routes: RouteTable
    guard: Guard
    watch: ExpiryWatch
    ping: float
    upgrades: "type[Upgrade] | None" = None
    former: InitVar["WebSocketForwarding | None"] = None

    def __post_init__(self, former: "WebSocketForwarding | None") -> None:
        """Takes over the counts and the sockets of a former one."""
        before: Mapping[bytes, Counts] = {} if former is None else former.counts
        self.sockets: OpenStreams = OpenStreams() if former is None else former.sockets
        self.counts: Mapping[bytes, Counts] = {
            route.path: Counts(route.settings.websocket_max_sockets, before.get(route.path))
            for route in self.routes.routes
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        await (self.upgrades or Upgrade)(self, scope, receive, send).run()


class Upgrade:
    """One upgrade, and the socket that comes of it."""

    _listening: asyncio.Task[Message]  # for the client's first message
    _over: Over

    def __init__(self, owner: WebSocketForwarding, scope: Scope, receive: Receive, send: Send) -> None:
        self._owner = owner
        self._context = owner.context
        self._request = request = request_head(scope)
        self._verdict = verdict = admit_upgrade(request, owner.routes, owner.guard)
        if isinstance(verdict, Admitted):  # else `run` refuses the upgrade, and does nothing else
            self._admitted = verdict
            self._route = verdict.route.settings
            self._destination = owner.context.destinations[verdict.route.path]
        self._subprotocols: list[str] = scope.get("subprotocols", [])
        self._can_answer = "websocket.http.response" in (scope.get("extensions") or {})
        self._receive = receive
        self._send = send
        self._ids: RequestIds = owner.context.request_ids(request)
        self._credential: Signed | Anonymous = Anonymous()
        self._watched: Watched | None = None  # its session, where it has one
        self._started = owner.context.clock()
        self._answered = False
        self._backend: ClientConnection | None = None

    async def run(self) -> None:
        """Answers the handshake, and carries the socket to its end."""
        verdict = self._verdict
        await self._receive()  # websocket.connect
        if isinstance(verdict, Denied):
            note_denied(self._context, verdict, self._request, self._ids)
            await self._fail(verdict.problem, **verdict.parts())
            return
        if not well_formed(self._subprotocols):
            await self._fail(Problem.BAD_REQUEST, detail="malformed list of subprotocols")
            return
        self._listening = self._context.tasks.spawn(_next(self._receive), name="socket's first message")
        try:
            await self._admit()
        finally:
            self._listening.cancel()
            if self._backend is not None:
                self._backend.transport.abort()  # closed already, unless something went wrong
            self._note(CLIENT_GONE)

    async def _admit(self) -> None:
        answer = await self._cleared()
        if isinstance(answer, Refused):
            await self._refuse(answer)
            return
        self._credential, added = answer
        self._ids = self._ids._replace(added=added)
        signed = self._credential
        holder, bearer = holder_of(signed) or self._ids.client, self._destination.credentials.bearer
        with self._owner.counts[self._admitted.route.path].holding(holder) as free:
            if not free:
                await self._fail(Problem.RATE_LIMITED, detail="too many open sockets")
            elif isinstance(signed, Signed):
                with self._owner.watch.watching(signed.found) as self._watched:
                    await self._connect(self._watched.over)
            elif isinstance(signed, TokenOnly) and bearer is not None:
                with bearer.watch.watching(signed) as token:
                    await self._connect(token.over)
            else:
                await self._connect(asyncio.get_running_loop().create_future())  # which is never done

    async def _cleared(self) -> tuple[Signed | Anonymous, tuple[Header, ...]] | Refused:
        """Returns the credential, and the fields that the application adds."""
        common = self._request, self._admitted
        found = await self._destination.credential_for(*common, self._ids.client)
        if isinstance(found, Refused):
            return found
        return await asked(self._destination, *common, found, self._ids.client)

    async def _connect(self, over: Over) -> None:
        self._over = over
        outcome = await self._opened()
        if isinstance(outcome, ClientConnection):
            await self._carry(outcome)
        elif isinstance(outcome, Answered):
            await self._pass_on(outcome)
        elif isinstance(outcome, Refused):
            await self._refuse(outcome)

    async def _opened(self) -> ClientConnection | Answered | Refused | None:
        """Returns the backend's answer, or a refusal by the session's end; None where the client has left."""
        listening = self._listening
        opening = self._context.tasks.spawn(self._open(), name="socket's handshake")
        waiting: set[asyncio.Future[Any]] = {opening, self._over, listening}
        try:
            while not (opening.done() or self._over.done() or _has_left(listening)):
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait([opening])
        if self._over.done():
            why = self._over.result()
            return why if isinstance(why, Refused) else Refused(why.problem, why.reason)
        return None if opening.cancelled() or _has_left(listening) else opening.result()

    async def _open(self) -> ClientConnection | Answered | Refused:
        """Calls the backend, and again after a 401 that can be healed, as with every call."""
        healing = Healing(self._context, self._destination)
        while True:
            outcome = await self._call()
            if not isinstance(outcome, Answered):
                return outcome
            cure = healing.cure_of(outcome.status, outcome.headers, self._credential)
            if cure is None:
                return outcome
            healed = await healing.heal(cure, self._route.refresh_on_401)
            if isinstance(healed, PassOn):
                return outcome
            if isinstance(healed, Refused):
                return healed
            self._credential = healed
            healing.repeated(cure)

    async def _call(self) -> ClientConnection | Answered | Refused:
        request = self._destination.request(
            self._request, self._admitted, self._ids, self._credential, at_hand=True
        )
        try:
            outcome = await open_socket(
                request,
                self._admitted.route,
                self._destination.pool.dialer,
                subprotocols=kept(self._subprotocols, self._route.websocket_drop_subprotocols),
                ping=self._owner.ping,
            )
        except UnsafeRequestError:
            return Refused(Problem.BAD_REQUEST)
        except UpstreamFaultError as failure:
            fault, route, request_id = failure.fault, self._route.path, self._ids.request_id
            note_fault(self._context, fault, route=route, request_id=request_id)
            return Refused(fault.problem)
        if isinstance(outcome, ClientConnection):
            self._backend = outcome
        return outcome

    async def _carry(self, backend: ClientConnection) -> None:
        assert backend.response is not None
        told = response_fields(backend.response.headers.raw_items())
        proofs = self._destination.identity.proofs
        if proofs is not None:
            proofs.answered(_SWITCHING, told)  # it may have brought the next nonce
        fields = self._destination.rules.response(_SWITCHING, told)
        self._note(_SWITCHING)
        metrics, clock = self._context.metrics, self._context.clock
        metrics.websockets.inc()
        opened = clock()
        try:
            await self._send(
                {"type": "websocket.accept", "subprotocol": backend.subprotocol, "headers": fields}
            )
            relay = WebSocketRelay(
                receive=self._receive,
                send=self._send,
                backend=backend,
                max_message=self._route.websocket_max_message,
                used=self._used,
                tasks=self._context.tasks,
            )
            lasts = stream_lifetime(session_of(self._credential), self._context.bound_stream_lifetime)
            with self._owner.sockets.holding(relay, lasts):
                end = await relay.run(self._listening, self._over)
        except OSError:  # the client has left in this very moment
            return
        finally:
            metrics.websockets.dec()
        _log.info(
            "websocket_closed",
            route=self._route.path,
            request_id=self._ids.request_id.decode(),
            session=None if self._watched is None else self._watched.found.session.id,
            seconds=round(clock() - opened, 3),
            to_client=None if end.to_client is None else int(end.to_client.code),
            to_backend=None if end.to_backend is None else int(end.to_backend.code),
        )

    def _used(self) -> None:
        if self._watched is not None and self._destination.credentials.session.used(self._watched.found):
            self._owner.watch.noted(self._watched)

    # Answers to the handshake

    async def _pass_on(self, answer: Answered) -> None:
        fields = [field for field in answer.headers if field[0] != b"content-length"]  # the server's to write
        rendered = self._destination.rules.response(answer.status, fields)
        if answer.status == _UNAUTHORIZED:
            rendered += marks(self._credential)
        await self._answer(answer.status, rendered, answer.body)

    async def _refuse(self, refused: Refused) -> None:
        await self._fail(refused.problem, **refused.parts())

    async def _fail(self, problem: Problem, **extra: Any) -> None:
        await self._answer(*problem_answer(self._context, problem, **extra))

    async def _answer(self, status: int, headers: list[Header], body: bytes) -> None:
        self._note(status)
        with contextlib.suppress(OSError):  # the client has left
            if self._can_answer:
                start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
                await self._send(start)
                await self._send({"type": "websocket.http.response.body", "body": body})
            else:
                await self._send({"type": "websocket.close", "code": CloseCode.POLICY_VIOLATION})

    def _note(self, status: int) -> None:
        """Notes the handshake once, by access line and count, however long the socket lives."""
        if self._answered:
            return
        self._answered = True
        route = self._verdict.route
        name = "-" if route is None else route.settings.path
        session = session_of(self._credential)
        note_call(
            self._context,
            self._context.metrics.requests(name, "GET"),
            route=name,
            method=b"GET",
            path=self._request.raw_path,
            session=None if session is None else session.key,
            request_id=self._ids.request_id,
            status=status,
            started=self._started,
            whose=session,
        )


async def _next(receive: Receive) -> Message:
    return await receive()


def _has_left(listening: asyncio.Task[Message]) -> bool:
    return listening.done() and listening.result()["type"] == "websocket.disconnect"
