"""The parts that the requests of one frontend are served with.

Rule 1: a frontend never changes. Other settings make another one, which takes its place between two requests
(`bff.proxy.forward.current_app`); requests, event streams and WebSockets under way end on theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bff.credentials.bearer_credentials import Verifiers
from bff.credentials.session_credentials import Credentials
from bff.oidc.providers import Providers
from bff.policy.csrf import Guard
from bff.proxy.forward.asgi_app import ForwardingApp
from bff.proxy.forward.forward_auth import ForwardAuth
from bff.proxy.websocket.upgrade import WebSocketForwarding
from bff.session.near_cache import NearCache
from bff.session.sessions import Sessions
from bff.settings.model import Settings
from bff.upstream.pool import UpstreamPool
from bff.web.events import EventsEndpoint


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Frontend:
    """One frontend.

    Attributes:
        name: "" for the only one, and the one without a section.
        settings: those that it was built from.
        credentials: those for each audience; under None the session's own.
        memory: its own near cache, which the feed is to tell; None where several share one.
    """

    name: str
    settings: Settings
    providers: Providers
    verifiers: Verifiers
    guard: Guard
    sessions: Sessions
    credentials: Mapping[str | None, Credentials]
    forwarding: ForwardingApp
    forward_auth: ForwardAuth
    events: EventsEndpoint
    websockets: WebSocketForwarding
    memory: NearCache | None

    def forget(self) -> None:
        """Drops what was read by server keys that are gone."""
        self.rest()
        self.websockets.watch.forget()

    def pools(self) -> set[UpstreamPool]:
        """Returns the pools of its routes."""
        return {each.pool for each in self.forwarding.context.destinations.values()}

    def rest(self) -> None:
        """Gives memory back: another frontend has taken its place, and few requests are still here."""
        self.sessions.decrypted.clear()
        if self.memory is not None:
            self.memory.changed(None)

    def leave(self) -> None:
        """Ends its event streams and WebSockets: it is gone from the settings, and nothing took its place."""
        self.forwarding.context.event_streams.stop()
        self.websockets.sockets.stop()

    async def aclose(self) -> None:
        """Ends the fetches that are under way."""
        await self.verifiers.aclose()
