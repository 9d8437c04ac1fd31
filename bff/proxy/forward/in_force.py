"""The forwarding application in force, as one reference that a change of the settings replaces."""

from bff.proxy.forward.asgi_app import ForwardingApp

STATE = "bff_forwarding"
"""The name under which the lifespan state holds an `InForce`, for the server protocol."""


class InForce:
    """The application that requests are served by from now on; those under way keep theirs.

    Attributes:
        app: the application.
        fast_path: its fast path, beside it: a fast call reads one attribute.
    """

    __slots__ = ("app", "fast_path")

    def __init__(self, app: ForwardingApp) -> None:
        self.replace(app)

    def replace(self, app: ForwardingApp) -> None:
        """Puts another application in force, on the event loop: between two requests."""
        self.app, self.fast_path = app, app.fast_path
