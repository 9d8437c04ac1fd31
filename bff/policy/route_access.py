"""The access of a signed-in user to one route, and the order of its refusals. Pure.

Rule 1: a route's rule is judged once for each session that is read from Redis; what comes of it goes with the
session into the near cache (`AccessPlan.views`). A session with newer claims is another one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from bff.policy.claim_rules import claim_at, header_value, holds, kept_claims
from bff.policy.routes import Route, Upstream
from bff.policy.step_up import Demand
from bff.settings.claim_rule import ClaimRule, names_of
from bff.settings.model import RouteSettings

Claims = Mapping[str, Any]
AccessRefusal = Literal["claims", "device", "sign_in"]
"""The reasons to refuse a call: the claims, a session without a device, a sign-in too weak or too old."""


class View(NamedTuple):
    """A session as one route sees it: let in until this moment, with these header lines."""

    until: float  # seconds since the epoch; -inf: not let in
    lines: bytes


_SHUT_OUT = View(-math.inf, b"")


@dataclass(frozen=True, slots=True)
class RouteAccess:
    """One route's rule and headers. `index` is its place among the views of a session."""

    index: int
    allow: ClaimRule | None
    headers: tuple[tuple[bytes, str], ...]  # each name with the claim that it tells
    demand: Demand | None = None  # for a stronger or fresher sign-in
    bound: bool = False  # True: for sessions that are bound to a device alone

    @classmethod
    def of(cls, index: int, route: RouteSettings) -> "RouteAccess":
        """The access to a route."""
        return cls(index, route.allow, headers_of(route), demand_of(route), route.bound)

    def refusal(self, claims: Claims, now: float, *, bound: bool) -> AccessRefusal | None:
        """Returns the first reason to refuse a call, in the order that clients are told; None to let it in.

        `bound`: its session is bound to a device. `now` is in seconds since the epoch.
        """
        if self.allow is not None and not holds(self.allow, claims):
            return "claims"
        if self.bound and not bound:
            return "device"
        if self.demand is not None and now >= self.demand.met_until(claims):
            return "sign_in"
        return None

    def view(self, claims: Claims, *, bound: bool) -> View:
        """Returns what calls of a session need to know; `bound`: it is bound to a device."""
        if self.refusal(claims, -math.inf, bound=bound) is not None:
            return _SHUT_OUT
        until = math.inf if self.demand is None else self.demand.met_until(claims)
        lines = b"".join(b"%b: %b\r\n" % field for field in claim_headers(self.headers, claims))
        return View(until, lines)


def headers_of(route: RouteSettings) -> tuple[tuple[bytes, str], ...]:
    """Returns the headers that a route makes of claims: each name, in lower case, with its claim."""
    return tuple((name.lower().encode("ascii"), claim) for name, claim in route.headers.items())


def told_fields(routes: Iterable[Route]) -> dict[Upstream, frozenset[str]]:
    """Returns the names of the fields that the routes to each backend make of claims.

    A backend that believes such a field does not know by which route a call has come.
    """
    told: dict[Upstream, frozenset[str]] = {}
    for route in routes:
        if route.settings.headers:
            told[route.upstream] = told.get(route.upstream, frozenset()).union(route.settings.headers)
    return told


def claim_headers(headers: Iterable[tuple[bytes, str]], claims: Claims) -> list[tuple[bytes, bytes]]:
    """Returns the headers that tell of claims; one whose claim says nothing is left out."""
    told = ((name, header_value(claim_at(claims, claim))) for name, claim in headers)
    return [(name, value) for name, value in told if value is not None]


class AccessPlan:
    """The access of all routes that ask for claims.

    Attributes:
        by_path: each of them by its path.
        names: the claims that they ask for, those that minted tokens tell, and `more` beside them.
    """

    def __init__(self, routes: Iterable[tuple[bytes, RouteSettings]] = (), more: Iterable[str] = ()) -> None:
        listed = list(routes)
        asking = [(path, route) for path, route in listed if asks(route)]
        self.by_path = {path: RouteAccess.of(index, route) for index, (path, route) in enumerate(asking)}
        self.names = frozenset(more).union(
            *(ruled_claims(route) for _, route in asking), *(route.told_claims() for _, route in listed)
        )

    def kept(self, claims: Claims) -> dict[str, Any]:
        """Returns the claims that a session keeps for the sake of the routes."""
        return kept_claims(claims, self.names)

    def views(self, claims: Claims, *, bound: bool) -> Sequence[View]:
        """Returns a session's views, by the routes' indexes."""
        return [access.view(claims, bound=bound) for access in self.by_path.values()]


def asked_claims(route: RouteSettings) -> set[str]:
    """Returns the names of the claims that a route asks for, or that its minted tokens tell."""
    return {*ruled_claims(route), *route.claims}


def ruled_claims(route: RouteSettings) -> set[str]:
    """Returns the names of the claims that a route asks for."""
    stepping = [*(["acr"] if route.acr else []), *(["auth_time"] if route.max_age is not None else [])]
    return {*names_of(route.allow), *route.headers.values(), *stepping}


def demand_of(route: RouteSettings) -> Demand | None:
    """Returns the sign-in that a route demands by itself."""
    if not route.acr and route.max_age is None:
        return None
    return Demand(route.acr, None if route.max_age is None else int(route.max_age))


def asks(route: RouteSettings) -> bool:
    """Returns True if a route asks for claims, or for a device."""
    return route.bound or bool(ruled_claims(route))


NO_ACCESS = AccessPlan()
"""The plan of a proxy whose routes ask for no claims."""
