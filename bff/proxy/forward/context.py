"""The context of forwarded calls: the client's side of one, and the parts that all of a process share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bff.credentials.backend_proofs import BackendProofs
from bff.credentials.bearer import BearerAccess
from bff.credentials.credential import (
    Anonymous,
    Mode,
    Refused,
    Signed,
    TokenOnly,
    Unsigned,
    proof_key_of,
)
from bff.credentials.session_credentials import Credentials
from bff.limits.concurrency_limits import Callers
from bff.limits.route_rate_limit import RouteRateLimit
from bff.observe.metrics import Metrics
from bff.observe.tracing import Spans
from bff.open_streams import OpenStreams
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Header
from bff.policy.headers import HeaderRules
from bff.policy.route_access import claim_headers
from bff.policy.step_up import Demand, challenged
from bff.problems import LOGIN
from bff.proxy.forward.before_forward import AskBeforeForward
from bff.proxy.forward.request_ids import RequestIdMaker
from bff.session.signed_calls import SignedCalls
from bff.session.token_policy import PassOn
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
    credentials: Credentials
    limit: RouteRateLimit | None = None
    ask: AskBeforeForward | None = None
    bearer: BearerAccess | None = None  # where clients may bring tokens of their own
    unsigned: Unsigned | None = None  # the token of calls for which no session is looked up
    proofs: BackendProofs | None = None  # that go with tokens that are bound to a session's key

    @property
    def waits(self) -> bool:
        """True where calls may have to wait: for a limit, the application, a token without a session."""
        return self.limit is not None or self.ask is not None or self.unsigned is not None

    async def credential_for(
        self, request: RequestHead, admitted: Admitted, client: str
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a call; the route's limit counts its address first, its session then."""
        limit = self.limit
        if limit is None:
            return await self.credential_anew(request, admitted, client)
        if (limited := await limit.of_address(client)) is not None:
            return limited
        known = self.credentials.at_hand(request.fields.values(b"cookie")) if admitted.signed else None
        credential = known or await self.credential_anew(request, admitted, client)
        if isinstance(credential, Signed):
            return await limit.of_session(credential.found.session, client) or credential
        if isinstance(credential, TokenOnly):
            return await limit.of_bearer(credential, client) or credential
        return credential

    async def credential_anew(
        self, request: RequestHead, admitted: Admitted, client: str
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a call that has been counted before."""
        if admitted.bearer is not None:
            assert self.bearer is not None  # else no call is admitted by its token
            return await self.bearer.credential(admitted.bearer)
        if not admitted.signed:
            return Anonymous() if self.unsigned is None else await self.unsigned.unsigned()
        cookies, required = request.fields.values(b"cookie"), admitted.route.settings.requires_session()
        return await self.credentials.obtain(cookies, address=client, required=required)

    async def asked(
        self, request: RequestHead, admitted: Admitted, credential: Signed | Anonymous, client: str
    ) -> tuple[Signed | Anonymous, tuple[Header, ...]] | Refused:
        """Asks the application, where there is one; returns the credential, and the fields to add.

        An answer that took a while may have outlived the token or the session: the credential is found anew.
        """
        if self.ask is None:
            return credential, ()
        began = self.credentials.clock()
        added = await self.ask(request, admitted, credential)
        if isinstance(added, Refused) or self.credentials.clock() - began < A_WHILE:
            return added if isinstance(added, Refused) else (credential, added)
        anew = await self.credential_anew(request, admitted, client)
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
        while self._over(credential):
            connection.put_back()  # others may have it meanwhile
            renewed = await self._again(credential, required=required)
            if isinstance(renewed, Refused):
                return renewed
            credential = renewed
            connection = self.pool.acquire_nowait(client) or await self.pool.acquire(client)
        return connection, credential

    async def renew(
        self, credential: Signed | TokenOnly, *, invalid_token: bool, mode: Mode
    ) -> Signed | TokenOnly | PassOn | Refused:
        """Decides after a backend's 401: repeat with another token, pass it on, or refuse."""
        if isinstance(credential, Signed):
            return await self.credentials.renew(credential, invalid_token=invalid_token, mode=mode)
        if self.unsigned is None or credential.own is None:
            return PassOn()
        return await self.unsigned.renew_unsigned(credential, invalid_token=invalid_token, mode=mode)

    def fields_of(self, credential: Signed | Anonymous, method: bytes, target: bytes) -> list[Header]:
        """Returns the fields by which the backend learns who calls: a token with its proof, and claims.

        The fast path writes the same as lines (`fast_path.py`); a test holds the two together.
        """
        claims: Mapping[str, Any] = {}
        if isinstance(credential, Signed):
            session = credential.found.session
            token = session.tokens.access_token
            claims = session.all_claims if self.rules.claims else claims
        elif isinstance(credential, TokenOnly):
            token, claims = credential.token, credential.claims
        else:
            return []
        key = None if self.proofs is None else proof_key_of(credential)
        fields = self.token_fields(token.encode(), (key or "").encode(), method, target)
        return fields + claim_headers(self.rules.claims, claims) if self.rules.claims else fields

    def token_fields(self, token: bytes, key: bytes, method: bytes, target: bytes) -> list[Header]:
        """Returns the fields that carry a token; `key` is the text of the key that it is bound to, if any."""
        if not self.rules.bearer:
            return []
        if self.proofs is not None and key:
            return self.proofs.fields(key, token, method, target)
        return [(b"authorization", b"Bearer " + token)]

    def _over(self, credential: Signed | Anonymous) -> bool:
        if isinstance(credential, TokenOnly):
            return self.unsigned is not None and self.unsigned.unsigned_over(credential)
        return isinstance(credential, Signed) and self.credentials.over(credential)

    async def _again(self, credential: Signed | Anonymous, *, required: bool) -> Signed | Anonymous | Refused:
        if isinstance(credential, Signed):
            return await self.credentials.again(credential, required=required)
        return credential if self.unsigned is None else await self.unsigned.unsigned()


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
    signed_calls: SignedCalls = field(default_factory=SignedCalls)
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
