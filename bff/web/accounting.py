"""Access log and metrics of the proxy's own answers: its endpoints and the page."""

import json
import os
import time
from collections.abc import Callable, Collection

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bff.errors import problem_named
from bff.observe.logs import Whose, access
from bff.observe.metrics import Metrics
from bff.policy.trace_context import REQUEST_ID_ENTROPY

OTHER = "/bff/*"
SPA = "spa"
_SESSION, _WHOSE = "bff.session", "bff.whose"


def name_session(scope: Scope, key: str, whose: Whose | None = None) -> None:
    """Names the session that a request is about in its access line, by the key's first characters.

    `whose` is the session itself, where it was read: the line may name its provider.
    """
    scope[_SESSION], scope[_WHOSE] = key, whose


class EndpointNames:
    """The names for the metrics: an endpoint's pattern, all other paths of ours together, or the page.

    `endpoints` are the paths of ours that have names of their own; `is_own` tells the paths of ours.
    """

    def __init__(self, endpoints: Collection[str], is_own: Callable[[bytes], bool]) -> None:
        self._endpoints = frozenset(endpoints)
        self._is_own = is_own

    def __call__(self, scope: Scope) -> str:
        """Returns the name of the endpoint or page that has answered the request of this scope."""
        if not self._is_own(scope["raw_path"]):
            return SPA
        matched, mounted_at = scope.get("route"), scope.get("root_path", "")
        name: str = matched.path if isinstance(matched, Route) else scope["path"].removeprefix(mounted_at)
        return name if name in self._endpoints else OTHER


class Accounting:
    """Wraps an application; `endpoints` are the paths of ours that get a series of their own.

    One with a parameter is named by its pattern. `is_own` tells the paths of ours.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        endpoints: Collection[str],
        is_own: Callable[[bytes], bool],
        log: bool,
        frontend: str = "",
    ) -> None:
        self._app = app
        self._metrics = metrics
        self.name = EndpointNames(endpoints, is_own)
        self._log = log
        self._frontend = frontend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, is_problem = time.perf_counter(), 0, False

        async def noted(message: Message) -> None:
            nonlocal status, is_problem
            if message["type"] == "http.response.start":
                status = message["status"]
                is_problem = (b"content-type", b"application/problem+json") in message["headers"]
            elif is_problem and (body := message.get("body")):
                self._metrics.problem_sent(problem_named(json.loads(body)["code"]))
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._note(scope, status or 500, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = self.name(scope)
        self._metrics.request_finished(route, scope["method"], status, seconds)
        if self._log:
            access(
                method=scope["method"].encode("ascii", "replace"),
                path=scope["path"].encode("utf-8", "backslashreplace"),
                status=status,
                duration=seconds,
                route=route,
                request_id=os.urandom(REQUEST_ID_ENTROPY).hex(),
                session=scope.get(_SESSION),
                frontend=self._frontend,
                whose=scope.get(_WHOSE),
            )
