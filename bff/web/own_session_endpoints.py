"""GET /bff/sessions, DELETE /bff/sessions/{id} and DELETE /bff/sessions: the devices a user is signed in on.

Rule 1: an id that is not one of the user's own is 404, even if there is such a session; it is never looked
up.
Rule 2: ending this browser's own session is a sign-out, with all that belongs to it.
Rule 3: only the browser's own cookie opens its tokens: those of another session stay good at the provider
until they end, and the answer and the audit event say so (`provider_revoked`).
"""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.errors import Problem, StoreUnavailableError
from bff.policy.csrf import Guard
from bff.policy.user_agents import described
from bff.session.own_sessions import OwnSession, OwnSessions
from bff.session.sessions import Found, Sessions
from bff.web.authentication import counts_as_use, signed_in
from bff.web.responses import address_of, json_answer, problem_answer

SESSIONS = "/bff/sessions"
SESSION = "/bff/sessions/{id}"
_NO_SUCH = "None of your sessions has this id; it may have ended meanwhile."


class OwnSessionEndpoints:
    """The three endpoints. `sign_out` ends the browser's own session and answers for it."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        own: OwnSessions,
        guard: Guard,
        sign_out: Callable[[Request, Found], Awaitable[Response]],
        trusted_proxies: Sequence[IPv4Network | IPv6Network],
    ) -> None:
        self._sessions = sessions
        self._own = own
        self._guard = guard
        self._sign_out = sign_out
        self._trusted = trusted_proxies

    def routes(self) -> list[Route]:
        """The routes of all three."""
        return [
            Route(SESSIONS, self.listed, methods=["GET"]),
            Route(SESSIONS, self.end_others, methods=["DELETE"]),
            Route(SESSION, self.end_one, methods=["DELETE"]),
        ]

    async def listed(self, request: Request) -> Response:
        """Describes the user's sessions, this browser's first; `?slide=false` is no use of the session."""
        return await self._answer(request, self._list)

    async def end_one(self, request: Request) -> Response:
        """Ends one of them; 404 if there is no such one."""
        return await self._answer(request, self._end_one)

    async def end_others(self, request: Request) -> Response:
        """Ends all but this browser's."""
        return await self._answer(request, self._end_others)

    async def _answer(
        self, request: Request, act: Callable[[Request, Found], Awaitable[Response]]
    ) -> Response:
        found = await signed_in(request, self._sessions, self._guard, self._trusted)
        if isinstance(found, Response):
            return found
        try:
            if counts_as_use(request):
                await self._sessions.slide(found)
            return await act(request, found)
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)

    async def _list(self, _: Request, found: Found) -> Response:
        return json_answer({"sessions": [_described(one) for one in await self._own.of(found.session)]})

    async def _end_one(self, request: Request, found: Found) -> Response:
        session, id_ = found.session, request.path_params["id"]
        if id_ == session.id:
            return await self._sign_out(request, found)
        if not await self._own.end_one(session, id_, address_of(request, self._trusted)):
            return problem_answer(Problem.NO_SUCH_SESSION, detail=_NO_SUCH)
        return _ended(1)

    async def _end_others(self, request: Request, found: Found) -> Response:
        return _ended(await self._own.end_others(found.session, address_of(request, self._trusted)))


def _ended(count: int) -> Response:
    return json_answer({"ended": count, "provider_revoked": False})


def _described(one: OwnSession) -> dict[str, Any]:
    device = described(one.user_agent)
    return {
        "id": one.id,
        "created_at": one.created,
        "last_seen_at": one.seen,
        "ends_at": one.ends,
        "address": one.address,
        "browser": device.browser,
        "system": device.system,
        "current": one.current,
        "bound": one.bound,
    }
