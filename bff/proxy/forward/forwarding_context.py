"""The context of forwarded calls: the client's side of one, and the parts that all of a process share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bff.credentials.credential import Anonymous, Refused, Signed, TokenOnly
from bff.credentials.credential_choice import CredentialChoice
from bff.credentials.identity_fields import IdentityFields
from bff.limits.concurrency_limits import Callers
from bff.limits.route_rate_limit import RouteRateLimit
from bff.observe.metrics import Metrics
from bff.observe.tracing import Spans
from bff.open_streams import OpenStreams
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Header
from bff.policy.header_rules import HeaderRules
from bff.policy.intern_pool import InternPool
from bff.policy.step_up import Demand, challenged
from bff.problems import LOGIN
from bff.proxy.forward.before_forward_hook import AskBeforeForward
from bff.proxy.forward.request_ids import RequestIdMaker
from bff.proxy.forward.response_templates import ResponseLines
from bff.session.session_calls import SessionCalls
from bff.tasks import Tasks
from bff.upstream.connection import UpstreamConnection
from bff.upstream.pool import UpstreamPool

A_WHILE = 0.05  # seconds: a wait that took longer may have outlived the token that the call is to go with


class ClientSide(Protocol):
    """The client's side of a forwarded call. No method raises or awaits."""

    def send_head(self, status: int, headers: list[Header]) -> None:
        """Begins the answer."""

    def send_data(self, chunk: bytes) -> None:
        """Sends a piece of the content."""

    def send_end(self) -> None:
        """Ends the answer cleanly."""

    def abort(self) -> None:
        """Breaks the answer off so that the client sees that it is incomplete."""

    def pause_request(self) -> None:
        """Stops handing over the request's body."""

    def resume_request(self) -> None:
        """Goes on handing the request's body over."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A route's backend, and the parts that its calls share."""

    pool: UpstreamPool
    rules: HeaderRules
    credentials: CredentialChoice
    identity: IdentityFields
    limit: RouteRateLimit | None = None
    ask: AskBeforeForward | None = None

    @property
    def waits(self) -> bool:
        """True where calls may have to wait: for a limit, the application, a token without a session."""
        return self.limit is not None or self.ask is not None or self.credentials.unsigned is not None

    async def credential_for(
        self, request: RequestHead, admitted: Admitted, client: str
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a call; the route's limit counts its address first, its session then."""
        limit = self.limit
        if limit is None:
            return await self.credentials.find(request, admitted, client)
        if (limited := await limit.of_address(client)) is not None:
            return limited
        cookies = request.fields.values(b"cookie")
        known = self.credentials.session.at_hand(cookies) if admitted.signed else None
        credential = known or await self.credentials.find(request, admitted, client)
        if isinstance(credential, Signed):
            return await limit.of_session(credential.found.session, client) or credential
        if isinstance(credential, TokenOnly):
            return await limit.of_bearer(credential, client) or credential
        return credential

    async def asked(
        self, request: RequestHead, admitted: Admitted, credential: Signed | Anonymous, client: str
    ) -> tuple[Signed | Anonymous, tuple[Header, ...]] | Refused:
        """Asks the application, where there is one; returns the credential, and the fields to add.

        An answer that took a while may have outlived the token or the session: the credential is found anew.
        """
        if self.ask is None:
            return credential, ()
        clock = self.credentials.session.clock
        began = clock()
        added = await self.ask(request, admitted, credential)
        if isinstance(added, Refused) or clock() - began < A_WHILE:
            return added if isinstance(added, Refused) else (credential, added)
        anew = await self.credentials.find(request, admitted, client)
        if isinstance(anew, Anonymous) and isinstance(credential, Signed):  # the fields are about a user
            added = await self.ask(request, admitted, anew)
        if isinstance(anew, Refused):
            return anew
        return added if isinstance(added, Refused) else (anew, added)

    async def connection_for(
        self, credential: Signed | Anonymous, *, client: str, required: bool
    ) -> tuple[UpstreamConnection, Signed | Anonymous] | Refused:
        """Returns a connection and a credential for it, decided anew where its token has ended meanwhile.

        Raises:
            UpstreamFaultError: as `UpstreamPool.acquire` says.
        """
        connection = self.pool.acquire_nowait(client) or await self.pool.acquire(client)
        while self.credentials.over(credential):
            connection.put_back()  # others may have it meanwhile
            renewed = await self.credentials.again(credential, required=required)
            if isinstance(renewed, Refused):
                return renewed
            credential = renewed
            connection = self.pool.acquire_nowait(client) or await self.pool.acquire(client)
        return connection, credential


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
    bound_streams: float | None = None  # seconds: `session.bound_stream_lifetime`
    session_calls: SessionCalls = field(default_factory=SessionCalls)
    response_lines: InternPool[ResponseLines] = field(default_factory=InternPool)
    spans: Spans | None = None  # of calls that leave a trace

    def login_for(self, demand: Demand | None) -> str:
        """Returns the address of the sign-in that meets a demand."""
        return self.login_url if demand is None else f"{self.login_url}?{demand.query()}"

    def stream_lasts(self, credential: Signed | Anonymous) -> float | None:
        """Returns the seconds that a stream of this call may last at most, if its session is bound."""
        bound = isinstance(credential, Signed) and credential.found.session.bound
        return self.bound_streams if bound else None

    def demand_in(self, headers: Sequence[Header]) -> Demand | None:
        """Returns the demand of a backend's 401, if a sign-in can be asked for it."""
        demand = challenged(headers)
        return demand if demand is not None and demand.can_be_asked(self.login_params) else None
