"""The parts of a frontend that fast calls of one route ask for: few, since each is one more place to look."""

from collections.abc import Callable

from bff.policy.csrf import Allowed, Guard, Rejected
from bff.policy.routes import Route
from bff.proxy.forward.destination import Destination
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.proxy.forward.response_templates import ResponseTemplates
from bff.proxy.forward.shared_fast_route import SharedRoute, Verdicts
from bff.proxy.server.plain_request import PlainRequest

_MOST_VERDICTS = 64  # of a route, for a kind of requests


class FastRoute:
    """The parts of one frontend, beside the shared ones.

    Attributes:
        origin: the only Origin that its pages send.
        forwarding_end: the end of each head: the lines that tell a backend of the public origin.
        requests: the counts of each method's, by `SharedRoute.methods`.
        clock, access_log, frontend: those of the context, one look-up nearer.
    """

    __slots__ = (
        "_guard",
        "access_log",
        "clock",
        "context",
        "credentials",
        "destination",
        "forwarding_end",
        "frontend",
        "origin",
        "requests",
        "responses",
        "shared",
    )

    clock: Callable[[], float]

    def __init__(
        self, route: Route, destination: Destination, context: ForwardingContext, guard: Guard
    ) -> None:
        self.shared = SharedRoute.of(
            route, destination, context.request_ids, guard.csrf_header, context.fast_routes
        )
        self.context, self.destination, self._guard = context, destination, guard
        self.clock, self.access_log, self.frontend = context.clock, context.access_log, context.frontend
        self.credentials = destination.credentials.session
        proofs = destination.identity.proofs
        nonce = None if proofs is None else proofs.take
        self.responses = ResponseTemplates(destination.rules, nonce, context.response_lines)
        self.origin = guard.origin
        self.forwarding_end = destination.rules.forwarded.lines + b"\r\n"
        self.requests = tuple(
            context.metrics.requests(self.shared.name, method.decode("ascii"))
            for method in self.shared.methods
        )

    def judge(self, request: PlainRequest, verdicts: Verdicts) -> bool | None:
        """Returns true for a call with a session, false for one without, None for one to be refused.

        The verdict on a request without an Origin, or with the frontend's own, is kept among `verdicts`.
        """
        auth, csrf = self.shared.signed_by
        fields = list(request.guarded)
        if request.origin is not None:
            fields.append((b"origin", request.origin))
        verdict = self._guard.route(fields, request.method, auth=auth, csrf=csrf)
        if isinstance(verdict, Rejected):
            return None
        if len(verdicts) >= _MOST_VERDICTS:
            verdicts.clear()
        known = verdicts[tuple(request.guarded)] = isinstance(verdict, Allowed)
        return known

    def passing(self, request: PlainRequest) -> list[bytes]:
        """Returns the client's lines without its own copies of what routes to this backend set."""
        passes = self.destination.rules.passes_on
        # A piece of several lines has browsers' fields alone, which pass at any route.
        return [piece for piece in request.outgoing if passes(piece[: piece.find(b":")])]
