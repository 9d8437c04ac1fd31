"""The gate in front of a page that is for signed-in users alone (`spa.auth = "required"`).

Rule 1: nothing of the page passes without a session, but for `spa.public`.
Rule 2: a session that is found here is not used by that: a page that loads tells of itself by its calls.
"""

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from ipaddress import IPv4Network, IPv6Network
from typing import assert_never
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bff.errors import Problem, StoreUnavailableError
from bff.policy.immutable_assets import paths_pattern
from bff.policy.page_access import page_address, without_session
from bff.policy.routes import RouteTable
from bff.problems import PAGE_HEADERS, page_of
from bff.session.sessions import NoSession, Sessions
from bff.settings.model import Settings, SpaSettings
from bff.web.accounting import name_session
from bff.web.responses import NO_STORE, address_of, cookie_headers, login_url, problem_answer, redirect

_FAILED = "The sign-in came to nothing."


class PageGate:
    """Wraps the page. `table` has the routes, which no sign-in leads to; `home` is the start page."""

    def __init__(
        self,
        page: ASGIApp,
        settings: SpaSettings,
        *,
        sessions: Sessions,
        table: RouteTable,
        home: str,
        trusted: Sequence[IPv4Network | IPv6Network],
    ) -> None:
        self._page = page
        self._public = paths_pattern(settings.public)
        self._sessions = sessions
        self._table = table
        self._home = home
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        refusal = None if self._public.fullmatch(path) else await self._refusal(Request(scope))
        await (refusal or self._page)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        try:
            address = address_of(request, self._trusted)
            found = await self._sessions.find(cookie_headers(request), address=address)
        except StoreUnavailableError:
            return problem_answer(Problem.STORE_UNAVAILABLE)
        if isinstance(found, NoSession):
            if found.key is not None:
                name_session(request.scope, found.key)
            return self._without(request, found)
        name_session(request.scope, found.session.key, found.session)
        return None

    def _without(self, request: Request, found: NoSession) -> Response:
        scope = request.scope
        query: bytes = scope["query_string"]
        asked = {"return_to": page_address(scope["raw_path"], query, self._home, self._table.covers)}
        # Beside `unless`, so that a session which the cookie brings along is gone on with, not begun anew.
        sign_in = f"{login_url(request)}?{urlencode({**asked, 'unless': 'signed_in'})}"
        step = without_session(request.method, scope["headers"], query)
        match step:
            case "refuse":
                return problem_answer(found.problem, reason=found.reason, login_url=login_url(request))
            case "prefetch":
                return problem_answer(Problem.PREFETCH_REFUSED)
            case "failed":
                again = f"{login_url(request)}?{urlencode(asked)}"
                return problem_answer(found.problem, detail=_FAILED, reason=found.reason, login_url=again)
            case "come_back":
                headers = {name.decode(): value.decode() for name, value in PAGE_HEADERS}
                body = page_of("Signing in", f'<p><a href="{escape(sign_in)}">Continue</a></p>')
                return Response(body, 200, {**NO_STORE, **headers, "refresh": f"0; url={sign_in}"})
            case "sign_in":
                return redirect(302, sign_in)
            case other:
                assert_never(other)


def page_gate(
    settings: Settings, sessions: Sessions, table: RouteTable
) -> Callable[[ASGIApp], ASGIApp] | None:
    """Returns the function that wraps a frontend's page; None where the page is for everybody."""
    if settings.spa.auth == "none":
        return None
    trusted, home = settings.server.trusted_proxies, settings.home()
    return partial(
        PageGate, settings=settings.spa, sessions=sessions, table=table, home=home, trusted=trusted
    )
