"""POST /bff/backchannel-logout: the provider says that somebody signed out (Back-Channel Logout 1.0).

Nothing here comes from a browser, and only signed claims of the provider are believed.

Rule 1: a token works once: its `jti` is taken before anything ends, at first for a moment only, so that the
provider may try again what a failing store kept us from; for as long as the token could be repeated once all
is done.
Rule 2: the end is noted before the sessions are looked for, so that a sign-in that is under way finds the
note (T-15).
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import audit
from bff.oidc.client import OidcClient
from bff.oidc.event_reader import EventReader
from bff.oidc.id_token import MAX_ID_TOKEN
from bff.oidc.logout_token import MAX_AGE, ProviderLogout
from bff.oidc.logout_token_reader import logout_tokens
from bff.oidc.signed_event import SignedEventRejectedError, stated_issuer
from bff.session.model import EndReason
from bff.session.sessions import Sessions
from bff.settings.model import ProviderSettings, ServerSettings
from bff.web.query import body_of
from bff.web.responses import NO_STORE, address_of, problem_answer

BACKCHANNEL_LOGOUT = "/bff/backchannel-logout"
_MAX_BODY = 2 * MAX_ID_TOKEN
_AT_WORK = 15.0
"""Seconds for which a `jti` is taken while its sessions are being ended."""
_GUARD = "logout_token"


class BackchannelEndpoint:
    """The endpoint. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        providers: Iterable[OidcClient],
        sessions: Sessions,
        server: ServerSettings,
        clock: Callable[[], float],
    ) -> None:
        self._tokens = [(client.settings, logout_tokens(client, clock)) for client in providers]
        self._sessions = sessions
        self._trusted = server.trusted_proxies

    def routes(self) -> list[Route]:
        """Returns the route of the endpoint."""
        return [Route(BACKCHANNEL_LOGOUT, self.sign_out, methods=["POST"])]

    async def sign_out(self, request: Request) -> Response:
        """Ends the sessions that a logout token names: 200, or 400 for a token that is not to be believed."""
        token = await _logout_token(request)
        if token is None:
            return self._refused(request, "malformed")
        reason = "iss"
        try:
            for settings, tokens in self._meant(token):
                try:
                    logout = await tokens.read(token)
                except SignedEventRejectedError as rejected:
                    reason = rejected.reason
                    continue  # of one issuer there may be several clients, and it is for one of them
                guard = _guard(settings, logout)
                if not await self._sessions.one_time.claim(_GUARD, guard, lifetime=_AT_WORK):
                    return self._refused(request, "repeated")
                await self._end(request, settings, logout)
                return Response(b"", 200, NO_STORE)
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)
        except ProviderUnavailableError as failure:
            return problem_answer(Problem.PROVIDER_UNAVAILABLE, retry_after=failure.retry_after)
        return self._refused(request, reason)

    def _meant(self, token: str) -> Sequence[tuple[ProviderSettings, EventReader[ProviderLogout]]]:
        """The providers that a token can be of, by the issuer that it states; the only one anyway."""
        if len(self._tokens) == 1:
            return self._tokens
        issuer = stated_issuer(token)
        return [each for each in self._tokens if each[0].issuer == issuer]

    async def _end(self, request: Request, settings: ProviderSettings, logout: ProviderLogout) -> None:
        ended = await self._sessions.bulk.end_all(
            settings.name, sub=logout.sub, sid=logout.sid, reason=EndReason.PROVIDER_LOGOUT
        )
        await self._sessions.one_time.swap(
            _GUARD, _guard(settings, logout), "1", lifetime=MAX_AGE + 2 * settings.clock_skew
        )
        audit(
            "provider_signed_out",
            sub=logout.sub,
            sid=logout.sid,
            sessions=ended,
            address=address_of(request, self._trusted),
            frontend=self._sessions.frontend,
            provider=settings.name,
        )

    def _refused(self, request: Request, reason: str) -> Response:
        where = {"address": address_of(request, self._trusted), "frontend": self._sessions.frontend}
        audit("logout_token_rejected", **where, reason=reason)
        return problem_answer(Problem.BAD_REQUEST, detail=f"The logout token is not accepted: {reason}.")


def _guard(settings: ProviderSettings, logout: ProviderLogout) -> str:
    return hashlib.sha256(f"{settings.name} {logout.jti}".encode("utf-8", "surrogatepass")).hexdigest()


async def _logout_token(request: Request) -> str | None:
    """The one `logout_token` of a form (2.5), or None."""
    body = await body_of(request, "application/x-www-form-urlencoded", _MAX_BODY)
    try:
        values = parse_qs(body or "", max_num_fields=10).get("logout_token", [])
    except ValueError:  # too many fields
        return None
    return values[0] if len(values) == 1 else None
