"""The parts of a route's fast calls in which frontends do not differ.

A process may have a hundred frontends, whose calls come in turn. Each object of one frontend alone is a line
of the processor's cache, and often a page of memory, that the calls of the others have pushed out before it
is asked for again. So a call asks for few of them (`fast_route.py`), and for these in place of the rest.
"""

from dataclasses import dataclass, field

from bff.policy.fields import Header
from bff.policy.forwarded_fields import client_lines
from bff.policy.intern_pool import InternPool
from bff.policy.routes import Route
from bff.proxy.forward.destination import Destination
from bff.request_ids import RequestIdMaker

_MOST_PEERS = 256
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")  # those that `LineCache` reads


Verdicts = dict[tuple[Header, ...], bool]
"""Verdicts of the origin check, by the fields that it looks at, `Origin` aside: true for a call with its
session, false for one without. Requests that it refuses have none."""


@dataclass(slots=True, eq=False)
class Method:
    """One method of a route.

    Attributes:
        place: of its counts, in `FastRoute.requests`.
        plain: the verdicts on requests without an Origin.
        of_own_page: those on requests with the frontend's own.
    """

    place: int
    plain: Verdicts = field(default_factory=dict)
    of_own_page: Verdicts = field(default_factory=dict)


class SharedRoute:
    """The parts of a route's fast calls in which frontends do not differ.

    Attributes:
        methods: those that fast calls may have.
        of_peers: the `client_lines` of each peer that is a client itself.
    """

    __slots__ = (
        "__weakref__",
        "head_tail",
        "keep_cookies",
        "longest_body",
        "methods",
        "name",
        "of_peers",
        "pool",
        "request_ids",
        "route",
        "selective",
        "signed_by",
        "takes_bearer",
        "usual",
    )

    def __init__(self, route: Route, destination: Destination, request_ids: RequestIdMaker) -> None:
        settings, rules = route.settings, destination.rules
        self.route, self.pool, self.request_ids = route, destination.pool, request_ids
        self.name = settings.path
        self.selective = rules.selective
        self.usual = rules.bearer and not rules.claims and destination.identity.proofs is None
        self.keep_cookies = rules.keep_cookies
        self.signed_by = (settings.auth, settings.csrf)
        self.takes_bearer = settings.takes_bearer()
        self.longest_body = min(settings.replay_buffer, settings.max_body)
        self.head_tail = b" HTTP/1.1\r\nhost: " + route.host_header + b"\r\nx-request-id: "
        served = [method.encode("ascii") for method in _METHODS if method in settings.methods]
        self.methods = {method: Method(place) for place, method in enumerate(served)}
        self.of_peers: dict[str, bytes] = {}

    @staticmethod
    def of(
        route: Route,
        destination: Destination,
        ids: RequestIdMaker,
        csrf_header: bytes,
        pool: "InternPool[SharedRoute]",
    ) -> "SharedRoute":
        """Returns the one of all frontends that are alike."""
        rules = destination.rules
        # The route, the pool and the maker of ids live for as long as what is made of them: by these numbers
        # they are themselves.
        same = id(route), id(destination.pool), id(ids)
        unproved = destination.identity.proofs is None
        decided = rules.bearer, bool(rules.claims), rules.selective, rules.keep_cookies, unproved
        return pool.of((same, decided, csrf_header), lambda: SharedRoute(route, destination, ids))

    def direct(self, peer: str) -> bytes:
        """Makes and keeps the lines of a peer that is the client itself: its calls repeat."""
        if len(self.of_peers) >= _MOST_PEERS:
            self.of_peers.clear()
        lines = self.of_peers[peer] = client_lines(self.request_ids.client(peer, ()))
        return lines
