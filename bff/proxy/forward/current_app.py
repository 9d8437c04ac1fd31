"""The forwarding application of the moment, as one reference that a change of the settings replaces."""

from collections.abc import Iterable

from bff.policy.fields import Header
from bff.policy.frontend_table import FrontendTable
from bff.proxy.forward.asgi_app import ForwardingApp
from bff.proxy.forward.client_side import ClientSide
from bff.proxy.forward.fast_path import FastPath
from bff.proxy.forward.forward_auth import ForwardAuthCall
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.server.header_line_cache import LineCache
from bff.proxy.server.request_parser import Head

Several = FrontendTable[ForwardingApp] | None
"""The applications of several frontends, or None of one."""

STATE = "bff_forwarding"
"""The name under which the lifespan state holds a `CurrentApp`, for the server protocol."""


class CurrentApp:
    """The application that requests are served by from now on; those under way keep theirs.

    Attributes:
        app: the application; of several frontends the first one's.
        lines: the header lines of all, and the limits that heads are held to from now on. Its places lead to
            the fast path of each host that is one frontend's; `fast_path_of` tells it of the others.
        several: the applications of several frontends; None where there is one, and nothing to look up.
    """

    __slots__ = ("app", "lines", "several")

    def __init__(self, app: ForwardingApp, lines: LineCache, several: Several = None) -> None:
        self.replace(app, lines, several)

    def replace(self, app: ForwardingApp, lines: LineCache, several: Several = None) -> None:
        """Puts other applications in force, on the event loop: between two requests."""
        self.app, self.lines, self.several = app, lines, several
        for host, place in lines.places.items():
            served = app if several is None else several.whole_hosts.get(host)
            place.fast_path = None if served is None else served.fast_path

    def of(self, headers: Iterable[Header], raw_path: bytes) -> ForwardingApp | None:
        """Returns the application of a request; None for a host that is not served."""
        return self.app if self.several is None else self.several.of_request(headers, raw_path)

    def call(self, head: Head, peer: str, client: ClientSide) -> ForwardedCall | ForwardAuthCall | None:
        """Returns the call of a request that is forwarded, which has not begun; None for all others."""
        app = self.of(head.fields, head.path)
        if app is None or not app.takes(head.path):
            return None
        return app.call(head.request(peer), client)

    def fast_path_of(self, host: bytes, raw_path: bytes) -> FastPath:
        """Returns the fast path of a plain request, whose host is one of ours."""
        app = None if self.several is None else self.several.of(host, raw_path)
        return (app or self.app).fast_path
