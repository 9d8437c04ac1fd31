"""The composition root: settings in, a running proxy out. Nothing else but its pieces constructs the parts.

The order of the shutdown: rotations under way are waited for, then the connections to backends, provider
and store are closed.
"""

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from weakref import WeakSet

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from bff.credentials.session_credentials import Credentials
from bff.errors import Problem
from bff.frontend import Frontend
from bff.frontends import Frontends, build_frontends
from bff.hooks import NO_HOOKS, Hooks
from bff.live_settings import LiveSettings, Reloaded, note_in_force
from bff.observe.logs import get_logger
from bff.observe.metrics import Metrics
from bff.policy.csrf import Guard
from bff.proxy.forward.current_app import STATE, CurrentApp
from bff.session.expiry_watch import ExpiryWatch
from bff.session.sessions import Sessions
from bff.settings.model import Settings
from bff.settings.watched_files import WatchedFiles, see
from bff.shared_parts import SharedParts
from bff.tasks import Tasks
from bff.web.readiness import Check, ReadinessChecks
from bff.web.responses import problem_answer

_POLICY_VIOLATION = 1008
_log = get_logger("bff.app")


class App:
    """The proxy as an ASGI application.

    `clock` gives seconds since the epoch. `audiences` are those that tokens are asked for beside the routes'.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        hooks: Hooks = NO_HOOKS,
        audiences: Collection[str] = (),
    ) -> None:
        files = WatchedFiles(settings)
        files.begin(see(files.paths()))
        self.shared = SharedParts(settings, clock=clock, hooks=hooks, audiences=audiences)
        self.frontends = build_frontends(settings, self.shared)
        self.in_force = CurrentApp(self.frontend.forwarding, self.frontends.lines, self.frontends.table)
        self._subscribe(self.frontends)
        self._former_watches: WeakSet[ExpiryWatch] = WeakSet()  # of streams and sockets under way
        self.shared.keys.forget = self._forget
        self._count_connections()
        note_in_force(settings, self.metrics)
        self.live = LiveSettings(files, self.shared, self.frontends, self._put)
        self._lifespan = Starlette(lifespan=self.running)

    @property
    def settings(self) -> Settings:
        """The settings that requests are served by."""
        return self.live.settings

    @property
    def frontend(self) -> Frontend:
        """The first frontend, which is the only one where there are no others."""
        return self.frontends.first

    @property
    def metrics(self) -> Metrics:
        """The metrics of this process."""
        return self.shared.metrics

    @property
    def tasks(self) -> Tasks:
        """The tasks that outlive their requests."""
        return self.shared.tasks

    @property
    def sessions(self) -> Sessions:
        """The sessions."""
        return self.frontend.sessions

    @property
    def guard(self) -> Guard:
        """The check of a request's origin."""
        return self.frontend.guard

    @property
    def credentials(self) -> Mapping[str | None, Credentials]:
        """The credentials for each audience; under None the session's own."""
        return self.frontend.credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            app = self.in_force.of(scope["headers"], scope["raw_path"])
            await (app or _refuse_host)(scope, receive, send)

    async def readiness(self) -> list[Check]:
        """True while requests may come here."""
        clients = self.shared.clients.all()
        checks = ReadinessChecks(
            store=self.shared.store,
            feed=self.shared.feed,
            clients=clients,
            without_redis=self.settings.server.ready_without_redis,
        )
        return await checks.made()

    async def reload(
        self, newer: Settings | None = None, taken: Callable[[Settings], None] = lambda _: None
    ) -> Reloaded:
        """Puts newer settings in force, and changes of the files that they name; raises `NotTakenError`.

        `taken` is called in the moment in which newer ones are in force.
        """
        return await self.live.reload(newer, taken)

    async def prepare(self, newer: Settings) -> None:
        """Builds what newer settings ask for, for the `reload` that follows; raises `NotTakenError`."""
        await self.live.prepare(newer)

    def drop(self) -> None:
        """Forgets what was prepared."""
        self.live.drop()

    def _put(self, newer: Frontends) -> None:
        former, self.frontends = self.frontends, newer
        self._subscribe(newer, former)
        self.in_force.replace(self.frontend.forwarding, newer.lines, newer.table)
        self._count_connections()
        self.shared.pools.retain(newer.pools())
        names = {each.name for each in newer.every}
        for frontend in former.without(newer):
            frontend.rest()
            self._former_watches.add(frontend.websockets.watch)
            if frontend.name not in names:
                frontend.leave()
        self._end_with_providers(former, newer)
        for memory in former.memories() - newer.memories():
            memory.changed(None)
            self.shared.feed.release(memory)
        self.shared.retain_clients(each.providers for each in newer.every)

    def _end_with_providers(self, former: Frontends, newer: Frontends) -> None:
        """Ends what is open by sessions of providers that a frontend has no more."""
        left = {each.name: each.providers.names for each in newer.every}
        stay = [each for each in former.every if each.name in left]
        gone = {each.name: each.providers.names - left[each.name] for each in stay}
        for watch in tuple(self._former_watches):
            watch.providers_gone(gone.get(watch.frontend, ()))

    def _subscribe(self, newer: Frontends, former: Frontends | None = None) -> None:
        """Has the feed tell the memories that are new."""
        for memory in newer.memories() - (set() if former is None else former.memories()):
            self.shared.feed.subscribe(memory)

    @asynccontextmanager
    async def running(self, _: object = None) -> AsyncIterator[dict[str, object]]:
        """Runs the proxy's work beside its requests, for as long as it serves; once, on one event loop.

        Without it each call asks Redis, and connections are left open at the end.
        """
        await self.shared.start()
        self.live.start()
        try:
            yield {STATE: self.in_force}
        finally:
            await self.live.aclose()
            left = await self.shared.tasks.drain(self.settings.server.shutdown_timeout)
            if left:
                _log.warning("unfinished", tasks=left)
                await self.shared.tasks.cancel_all()
            for frontend in self.frontends.every:
                await frontend.aclose()
            await self.shared.aclose()

    def _forget(self) -> None:
        for memory in self.frontends.memories():
            memory.changed(None)
        for frontend in self.frontends.every:
            frontend.forget()
        for watch in tuple(self._former_watches):
            watch.forget()

    def _count_connections(self) -> None:
        for name in {upstream.name for upstream, _ in self.shared.pools.all()}:
            self.metrics.upstream_connections(name).set_function(partial(self.shared.pools.open_at, name))


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request for a host of no frontend; before our own server protocol it never comes here."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
    else:
        await problem_answer(Problem.WRONG_HOST)(scope, receive, send)


def create_app(settings: Settings) -> App:
    """Builds the proxy. `settings` have been checked, and their Redis URL names a server."""
    return App(settings)
