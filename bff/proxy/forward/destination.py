"""The destination of a route's calls: its backend's pool, its rules, its credentials and its limits."""

from dataclasses import dataclass

from bff.credentials.credential import Anonymous, Refused, Signed, TokenOnly
from bff.credentials.credential_choice import CredentialChoice
from bff.credentials.identity_fields import IdentityFields
from bff.hooks import Hooks
from bff.limits.route_rate_limit import RouteRateLimit
from bff.policy.admission import Admitted, RequestHead
from bff.policy.header_rules import HeaderRules, RequestIds
from bff.upstream.interfaces import UpstreamRequest
from bff.upstream.pool import UpstreamPool


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
