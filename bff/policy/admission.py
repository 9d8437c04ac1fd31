"""Whether a request may go towards a backend at all, before anything is looked up. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from bff.errors import Problem
from bff.policy.origin import Allowed, Guard, Rejected
from bff.policy.routes import BadPath, Matched, NoRoute, Route, RouteTable, method_allowed, query_problem

Header = tuple[bytes, bytes]
_ASKED = frozenset(
    {b"access-control-request-method", b"cookie", b"traceparent", b"x-forwarded-for", b"x-request-id"}
)


class RequestHead(NamedTuple):
    """A request's head as a front hands it over; header names are in lower case.

    `query` is without its `?`. `body_length` is None for a chunked body, 0 for none. `peer` is the address
    of the TCP peer, before any `X-Forwarded-For` is believed. `asked` holds the values of the fields that
    are asked for on the way, in their order.
    """

    method: bytes
    raw_path: bytes
    query: bytes
    headers: Sequence[Header]
    peer: str
    body_length: int | None
    asked: Mapping[bytes, list[bytes]]

    @classmethod
    def of(
        cls,
        *,
        method: bytes,
        raw_path: bytes,
        query: bytes,
        headers: Sequence[Header],
        peer: str,
        body_length: int | None = 0,
    ) -> "RequestHead":
        """Makes a head, and looks through its headers once."""
        asked: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in _ASKED:
                asked.setdefault(name, []).append(value)
        return cls(method, raw_path, query, headers, peer, body_length, asked)

    def values(self, name: bytes) -> list[bytes]:
        """All values of one of the fields that are asked for."""
        return self.asked.get(name) or []


class Admitted(NamedTuple):
    """The request may go to `route`; `signed` says whether a session is to be looked up."""

    route: Route
    target: bytes
    signed: bool


@dataclass(frozen=True, slots=True)
class Denied:
    """The answer is this problem. `reason` is for the log and the audit, not for the client."""

    problem: Problem
    reason: str
    route: Route | None = None


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


def _is_preflight(request: RequestHead) -> bool:
    """A preflight is a foreign page's question; there is one origin here, and no backend is to answer it."""
    return request.method == b"OPTIONS" and bool(request.values(b"access-control-request-method"))


def _admit_to(route: Route, target: bytes, request: RequestHead, guard: Guard) -> Admitted | Denied:
    settings = route.settings
    if not method_allowed(route, request.method) or _is_preflight(request):
        return Denied(Problem.METHOD_NOT_ALLOWED, "method", route)
    if (problem := query_problem(request.query)) is not None:
        return Denied(Problem.BAD_REQUEST, problem, route)
    verdict = guard.route(request.headers, request.method, auth=settings.auth, csrf=settings.csrf)
    if isinstance(verdict, Rejected):
        return Denied(Problem.CSRF_REJECTED, verdict.reason, route)
    if request.body_length is not None and request.body_length > settings.max_body:
        return Denied(Problem.BODY_TOO_LARGE, "content-length", route)
    return Admitted(route, target, signed=isinstance(verdict, Allowed))
