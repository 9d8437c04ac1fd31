"""The admission of a request to a backend, before anything is looked up. Pure."""

from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never

from bff.errors import Problem
from bff.policy.bearer_token import Bearer, Both, Doubled, presented
from bff.policy.csrf import SAFE_METHODS, Allowed, Guard, Rejected
from bff.policy.fields import Fields
from bff.policy.paths import query_problem
from bff.policy.routes import BadPath, Matched, NoRoute, Route, RouteTable, method_allowed

_ONE_OF_THEM = "Send the session's cookie, or a bearer token: not both"
NO_UPGRADE = "no route takes WebSockets at this path"
"""The reason of a refused upgrade where there is no route."""
NOT_HERE = "this route takes no WebSockets: `websocket = true` on it lets them through"
"""The reason of a refused upgrade on a route that takes none."""


class RequestHead(NamedTuple):
    """A request's head as a front hands it over.

    `query` is without its `?`. `body_length` is None for a chunked body, 0 for none. `peer` is the address
    of the TCP peer, before any `X-Forwarded-For` is believed.
    """

    method: bytes
    raw_path: bytes
    query: bytes
    fields: Fields
    peer: str
    body_length: int | None = 0


class Admitted(NamedTuple):
    """The request may go to `route`; `signed` says whether a session is to be looked up.

    `bearer` is the client's own token, on a route that takes one in place of a session.
    """

    route: Route
    target: bytes
    signed: bool
    bearer: bytes | None = None

    @property
    def of_program(self) -> bool:
        """True for a call with a token of its own, which no page is for."""
        return self.bearer is not None


@dataclass(frozen=True, slots=True)
class Denied:
    """The answer is this problem.

    `reason` is for the log and, with BAD_REQUEST and CSRF_REJECTED, for the client too, as `detail` is.
    """

    problem: Problem
    reason: str
    route: Route | None = None
    detail: str = ""

    @property
    def of_program(self) -> bool:
        """True for a call with a token of its own, as far as that is known."""
        return self.problem is Problem.BEARER_AND_COOKIE

    def parts(self) -> dict[str, Any]:
        """Returns the parts of the problem that the client is told."""
        if self.problem is Problem.BAD_REQUEST:
            return {"detail": self.reason}
        if self.problem is Problem.METHOD_NOT_ALLOWED and self.route is not None:
            return {"detail": self.detail, "headers": [(b"allow", self.route.allow)]}
        reason = self.reason if self.problem is Problem.CSRF_REJECTED else None
        return {"detail": self.detail, "reason": reason}


def admit(request: RequestHead, routes: RouteTable, guard: Guard) -> Admitted | Denied:
    """Applies path, method, origin and size rules, in this order."""
    found = routes.match(request.raw_path)
    match found:
        case NoRoute():
            return Denied(Problem.NO_ROUTE, "no route")
        case BadPath(reason):
            return Denied(Problem.BAD_REQUEST, reason)
        case Matched(route, target):
            return _admit_to(route, target, request, guard)
        case other:
            assert_never(other)


def admit_upgrade(request: RequestHead, routes: RouteTable, guard: Guard) -> Admitted | Denied:
    """Applies path and origin rules to an upgrade to WebSocket, which only some routes take.

    The exact origin is asked for whether or not the route needs a session: a foreign page is never let in.
    """
    found = routes.match(request.raw_path)
    match found:
        case NoRoute():
            return Denied(Problem.BAD_REQUEST, NO_UPGRADE)
        case BadPath(reason):
            return Denied(Problem.BAD_REQUEST, reason)
        case Matched(route, target):
            return _upgrade_to(route, target, request, guard)
        case other:
            assert_never(other)


def _upgrade_to(route: Route, target: bytes, request: RequestHead, guard: Guard) -> Admitted | Denied:
    if not route.settings.websocket:
        return Denied(Problem.BAD_REQUEST, NOT_HERE, route)
    if (problem := query_problem(request.query)) is not None:
        return Denied(Problem.BAD_REQUEST, problem, route)
    if (brought := _brought(route, request)) is not None:
        return brought if isinstance(brought, Denied) else Admitted(route, target, False, brought)
    verdict = guard.websocket(request.fields.headers)
    if isinstance(verdict, Rejected):
        return Denied(Problem.CSRF_REJECTED, verdict.reason, route, guard.explain(verdict.reason))
    return Admitted(route, target, signed=route.settings.auth != "none")


def _is_preflight(request: RequestHead) -> bool:
    """A preflight is a foreign page's question; there is one origin here, and no backend is to answer it."""
    return request.method == b"OPTIONS" and bool(request.fields.values(b"access-control-request-method"))


def _admit_to(route: Route, target: bytes, request: RequestHead, guard: Guard) -> Admitted | Denied:
    settings = route.settings
    if not method_allowed(route, request.method) or _is_preflight(request):
        return Denied(Problem.METHOD_NOT_ALLOWED, "method", route)
    if (problem := query_problem(request.query)) is not None:
        return Denied(Problem.BAD_REQUEST, problem, route)
    brought = _brought(route, request)
    if isinstance(brought, Denied):
        return brought
    if brought is not None:  # no browser adds a token by itself: there is no foreign page to fend off
        return _of_size(Admitted(route, target, signed=False, bearer=brought), request)
    verdict = guard.route(request.fields.headers, request.method, auth=settings.auth, csrf=settings.csrf)
    if isinstance(verdict, Rejected):
        advice = guard.explain(verdict.reason, by_element=request.method in SAFE_METHODS)
        return Denied(Problem.CSRF_REJECTED, verdict.reason, route, advice)
    return _of_size(Admitted(route, target, signed=isinstance(verdict, Allowed)), request)


def _of_size(admitted: Admitted, request: RequestHead) -> Admitted | Denied:
    route = admitted.route
    if request.body_length is not None and request.body_length > route.settings.max_body:
        return Denied(Problem.BODY_TOO_LARGE, "content-length", route)
    return admitted


def _brought(route: Route, request: RequestHead) -> bytes | Denied | None:
    """The bearer token that a client brings to a route which takes one."""
    if not route.settings.takes_bearer():
        return None
    match presented(request.fields.headers):
        case None:
            return None
        case Bearer(token):
            return token
        case Both():
            return Denied(Problem.BEARER_AND_COOKIE, "both", route, _ONE_OF_THEM)
        case Doubled():
            return Denied(Problem.BAD_REQUEST, "more than one Authorization", route)
        case other:
            assert_never(other)
