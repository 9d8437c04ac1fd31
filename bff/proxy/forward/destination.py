"""The destination of a route's calls: its backend's pool, its rules, its credentials and its limits."""

from dataclasses import dataclass

from bff.credentials.credential import Anonymous, Refused, Signed, TokenOnly
from bff.credentials.credential_choice import CredentialChoice
from bff.credentials.identity_fields import IdentityFields
from bff.errors import Problem
from bff.hooks import Hooks
from bff.limits.route_rate_limit import RouteRateLimit
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Header
from bff.policy.header_rules import HeaderRules, RequestIds
from bff.proxy.forward.before_forward_hook import ask_before_forward
from bff.upstream.connection import UpstreamConnection
from bff.upstream.interfaces import UpstreamRequest
from bff.upstream.pool import UpstreamPool

_TRIES = 4  # to get a token that is still good once there is a connection
A_WHILE = 0.05  # seconds: a wait that took longer may have outlived the token that the call is to go with


@dataclass(frozen=True, slots=True)
class Destination:
    """A route's backend, and the parts that its calls share.

    `hooks` are those of an application that is asked about each call.
    """

    pool: UpstreamPool
    rules: HeaderRules
    credentials: CredentialChoice
    identity: IdentityFields
    limit: RouteRateLimit | None = None
    hooks: Hooks | None = None

    @property
    def waits(self) -> bool:
        """True where calls may have to wait: for a limit, the application, a token without a session."""
        return self.limit is not None or self.hooks is not None or self.credentials.unsigned is not None

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
        if self.hooks is None:
            return credential, ()
        clock = self.credentials.session.clock
        began = clock()
        added = await ask_before_forward(self.hooks, request, admitted, credential)
        if not isinstance(added, Refused) and clock() - began >= A_WHILE:
            anew = await self.credentials.find(request, admitted, client)
            if isinstance(anew, Refused):
                return anew
            if isinstance(anew, Anonymous) and isinstance(credential, Signed):  # the fields are about a user
                added = await ask_before_forward(self.hooks, request, admitted, anew)
            credential = anew
        return added if isinstance(added, Refused) else (credential, added)

    def request(
        self,
        head: RequestHead,
        admitted: Admitted,
        ids: RequestIds,
        credential: Signed | Anonymous,
        *,
        at_hand: bool,
    ) -> UpstreamRequest:
        """Returns the request for the backend.

        A body that cannot be sent a second time is announced first, so that a 401 comes before it is spent;
        `at_hand` says that all of it is here, to be sent as often as it takes.
        """
        route, length, query = admitted.route, head.body_length, head.query
        identity = self.identity.of(credential, head.method, admitted.target)
        announced = length is None or length > route.settings.replay_buffer
        return UpstreamRequest(
            method=head.method,
            target=admitted.target + (b"?" + query if query else b""),
            host=route.host_header,
            headers=[*self.rules.request(head.fields, ids), *identity],
            body_length=length,
            expect_continue=announced and route.settings.expect and not at_hand,
        )

    async def connection_for(
        self, credential: Signed | Anonymous, client: str
    ) -> tuple[UpstreamConnection, Signed | Anonymous] | Refused:
        """Returns a connection and a credential for it, decided anew where its token has ended meanwhile.

        Tokens that have ended whenever they come are refused in the end, and not asked for without end.

        Raises:
            UpstreamFaultError: as `UpstreamPool.acquire` says.
        """
        for _ in range(_TRIES):
            connection = self.pool.acquire_nowait(client) or await self.pool.acquire(client)
            if not self.credentials.over(credential):
                return connection, credential
            connection.put_back()  # others may have it meanwhile
            renewed = await self.credentials.again(credential)
            if isinstance(renewed, Refused):
                return renewed
            credential = renewed
        return Refused(Problem.PROVIDER_UNAVAILABLE)
