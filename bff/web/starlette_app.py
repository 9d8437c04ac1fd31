"""The application for what is not forwarded: our endpoints, then the page, under the base path."""

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from bff.errors import Problem
from bff.observe.metrics import Metrics
from bff.observe.tracing import Spans
from bff.settings.model import ServerSettings, SpaSettings
from bff.web.accounting import Accounting
from bff.web.error_pages import ErrorPages
from bff.web.events import EventsEndpoint
from bff.web.responses import problem_answer, redirect
from bff.web.spa import Spa
from bff.web.traced_answers import TracedAnswers


def starlette_app(
    endpoints: Sequence[Route],
    events: EventsEndpoint,
    *,
    server: ServerSettings,
    spa: SpaSettings,
    metrics: Metrics,
    is_own: Callable[[bytes], bool],
    access_log: bool,
    home: str,
    gate: Callable[[ASGIApp], ASGIApp] | None = None,
    frontend: str = "",
    spans: Spans | None = None,
) -> ASGIApp:
    """Returns the application; `is_own` tells the paths of our endpoints, for metrics and spans.

    `gate` wraps the page where that is for signed-in users alone.
    """
    rest = _Rest(endpoints)
    routes: list[BaseRoute] = [*endpoints, Route("/bff", rest), Route("/bff/{rest:path}", rest)]
    if spa.dir is not None:
        page: ASGIApp = Spa(spa.dir, spa)
        routes.append(Mount("/", page if gate is None else gate(page)))
    if base := server.base_path:
        routes = [Mount(base, Router(routes, redirect_slashes=False))]
        if spa.dir is not None:
            routes.append(Route(base, lambda _: redirect(307, f"{base}/"), methods=["GET"]))
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _http_problem, Exception: _internal_problem},
    )
    app.router.redirect_slashes = False
    accounting = Accounting(
        events.before(app),
        metrics=metrics,
        endpoints=[route.path for route in endpoints],
        is_own=is_own,
        log=access_log,
        frontend=frontend,
    )
    counted: ASGIApp = accounting
    if spans is not None:
        counted = TracedAnswers(accounting, spans=spans, name=accounting.name)
    return ErrorPages(counted, spa.error_page, home)


class _Rest:
    """The answer under `/bff` where no endpoint takes the request: 405 if one has the path, else 404."""

    def __init__(self, endpoints: Sequence[Route]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point, for every method."""
        known = [each for each in self._endpoints if each.matches(scope)[0] is not Match.NONE]
        methods = {method for each in known for method in each.methods or ()}
        answer = problem_answer(Problem.NO_ROUTE)
        if methods:
            allow = ", ".join(sorted(methods)).encode("ascii")
            answer = problem_answer(Problem.METHOD_NOT_ALLOWED, headers=[(b"allow", allow)])
        await answer(scope, receive, send)


async def _http_problem(_: Request, failure: Exception) -> Response:
    assert isinstance(failure, HTTPException)
    status = failure.status_code
    allow = (failure.headers or {}).get("Allow")
    if status == Problem.METHOD_NOT_ALLOWED.status:
        headers = [(b"allow", allow.encode("ascii"))] if allow else []
        return problem_answer(Problem.METHOD_NOT_ALLOWED, headers=headers)
    return problem_answer(Problem.NO_ROUTE if status == Problem.NO_ROUTE.status else Problem.BAD_REQUEST)


async def _internal_problem(_: Request, __: Exception) -> Response:
    return problem_answer(Problem.INTERNAL_ERROR)
