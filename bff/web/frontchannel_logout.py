"""GET /bff/frontchannel-logout: the provider's page signs somebody out here (Front-Channel Logout 1.0).

For providers that offer nothing better: the back channel needs no browser that is still there. Off unless
`provider.frontchannel_logout` is set.

Rule 1: the session is found by the provider's own `sid`, never by a cookie: a frame of another site sends
none. Who does not know a `sid` ends nothing, and is told the same as who does.
Rule 2: a prefetch, a HEAD, and what is no navigation of a frame end nothing (B-37).
"""

from collections.abc import Iterable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.errors import Problem, StoreUnavailableError
from bff.observe.logs import audit
from bff.oidc.client import OidcClient
from bff.session.model import EndReason
from bff.session.sessions import Sessions
from bff.settings.model import ServerSettings
from bff.web.endpoint_limits import EndpointLimits, too_many
from bff.web.responses import NO_STORE, address_of, no_navigation, problem_answer

FRONTCHANNEL_LOGOUT: Final = "/bff/frontchannel-logout"
_LONGEST = 255  # characters of a `sid`


class FrontchannelEndpoint:
    """The endpoint; without the setting it is not there."""

    def __init__(
        self,
        *,
        providers: Iterable[OidcClient],
        sessions: Sessions,
        server: ServerSettings,
        limits: EndpointLimits,
    ) -> None:
        self._providers = [each.settings for each in providers if each.settings.frontchannel_logout]
        self._sessions = sessions
        self._trusted = server.trusted_proxies
        self._limits = limits

    def routes(self) -> list[Route]:
        """Returns the route of the endpoint."""
        if not self._providers:
            return []
        return [Route(FRONTCHANNEL_LOGOUT, self.sign_out, methods=["GET"])]

    async def sign_out(self, request: Request) -> Response:
        """Ends the sessions of a `sid`: 200, also where there are none; 400 without `iss` and `sid`."""
        address = address_of(request, self._trusted)
        if (refusal := no_navigation(request, address, self._sessions.frontend)) is not None:
            return refusal
        if (limited := too_many(await self._limits.sign_in("callback", address, None))) is not None:
            return limited
        asked = {name: request.query_params.getlist(name) for name in ("iss", "sid")}
        sid = asked["sid"][0] if len(asked["sid"]) == 1 else ""
        meant = [each.name for each in self._providers if asked["iss"] == [each.issuer]]
        if not meant or not 0 < len(sid) <= _LONGEST or not sid.isprintable():
            detail = "A sign-out by the front channel names the provider as iss, and a sid, each once."
            return problem_answer(Problem.BAD_REQUEST, detail=detail)
        where = {"address": address, "frontend": self._sessions.frontend}
        try:
            for name in meant:
                reason = EndReason.PROVIDER_LOGOUT
                if ended := await self._sessions.bulk.end_all(name, sub=None, sid=sid, reason=reason):
                    audit("provider_signed_out", sid=sid, sessions=ended, provider=name, **where)
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)
        return Response(b"", 200, NO_STORE)
