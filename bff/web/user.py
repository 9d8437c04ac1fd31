"""GET /bff/user and POST /bff/refresh: who is signed in, and for how long."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Any, assert_never

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.errors import Problem, StoreUnavailableError
from bff.policy.csrf import Guard
from bff.policy.public_claims import public_claims
from bff.refresh import Deferred, Over, Refresher, Rotated, UserNeeded
from bff.session.model import EndReason, Session
from bff.session.sessions import Found, Sessions
from bff.web.authentication import counts_as_use, signed_in
from bff.web.endpoint_limits import EndpointLimits, too_many
from bff.web.responses import address_of, json_answer, login_url, problem_answer

_UNAUTHORIZED = 401


class UserEndpoints:
    """Both endpoints. `clock` gives seconds since the epoch.

    `shown` are the claims that a page may see, by the session's provider.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        refresher: Refresher,
        guard: Guard,
        limits: EndpointLimits,
        logout_url: Callable[[str], str],
        shown: Mapping[str, tuple[str, ...] | None],
        trusted_proxies: Sequence[IPv4Network | IPv6Network],
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._refresher = refresher
        self._guard = guard
        self._limits = limits
        self._logout_url = logout_url
        self._shown = shown
        self._trusted = trusted_proxies
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes of both endpoints."""
        return [
            Route("/bff/user", self.user, methods=["GET"]),
            Route("/bff/refresh", self.refresh, methods=["POST"]),
        ]

    async def user(self, request: Request) -> Response:
        """Describes the session; `?slide=false` leaves the idle timeout as it is, and so does HEAD.

        `?anonymous=ok` is for a page that only wants to know: nobody signed in is a 200 then, since browsers
        write each 401 into the console as an error.
        """
        found = await self._find(request)
        if isinstance(found, Response):
            asked = request.query_params.get("anonymous") == "ok"
            return _nobody(found) if asked and found.status_code == _UNAUTHORIZED else found
        if counts_as_use(request):
            try:
                noted = await self._sessions.slide(found)
            except StoreUnavailableError:
                return problem_answer(Problem.STORE_UNAVAILABLE)
            if noted:  # the page asks for the time that is left from now on
                found = Found(found.handle, replace(found.session, seen=self._clock()))
        return self._describe(found)

    async def refresh(self, request: Request) -> Response:
        """Rotates the tokens now, and describes the session as it then is."""
        found = await self._find(request)
        if isinstance(found, Response):
            return found
        address = address_of(request, self._trusted)
        if (refusal := too_many(await self._limits.refresh(found.session, address))) is not None:
            return refusal
        outcome = await self._refresher.rotate(found, "manual")
        match outcome:
            case Rotated(rotated):
                return self._describe(rotated)
            case Over(problem, reason):
                return problem_answer(problem, reason=reason, login_url=login_url(request))
            case UserNeeded():
                reason = EndReason.SIGN_IN_REQUIRED
                return problem_answer(Problem.SESSION_EXPIRED, reason=reason, login_url=login_url(request))
            case Deferred(problem, retry_after):
                return problem_answer(problem, retry_after=retry_after)
            case other:
                assert_never(other)

    async def _find(self, request: Request) -> Found | Response:
        return await signed_in(request, self._sessions, self._guard, self._trusted)

    def _describe(self, found: Found) -> Response:
        session, now = found.session, self._clock()
        return json_answer(
            {
                "sub": session.sub,
                "claims": public_claims(session.claims, self._shown.get(session.provider)),
                "session": self._session(session, now),
                "logout_url": self._logout_url(found.handle),
            }
        )

    def _session(self, session: Session, now: float) -> dict[str, Any]:
        token_end = session.tokens.access_expires_at
        return {
            "id": session.id,
            "created_at": int(session.created),
            "idle_expires_in": int(self._sessions.idle_left(session, now)),
            "expires_in": int(session.ends - now),
            "access_token_expires_in": None if token_end is None else max(0, int(token_end - now)),
            "rotations": session.rotations,
        }


def _nobody(refusal: Response) -> Response:
    """The answer `signed_in: false`, with the code, the reason and the sign-in's address of the refusal."""
    problem = json.loads(bytes(refusal.body))
    if problem["code"] == Problem.BINDING_REQUIRED.code:
        return refusal  # somebody is signed in, and the browser may prove its device yet
    told = {name: problem[name] for name in ("code", "reason", "login_url") if name in problem}
    return json_answer({"signed_in": False, **told})
