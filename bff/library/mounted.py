"""The proxy as a part of a FastAPI or Starlette application.

Rule 1: it is started once for each event loop: by its lifespan if the host runs that, else by the first
request or the first question, of however many at once.
Rule 2: two of them in one process keep apart: paths, cookies, Redis' keys.
Rule 3: a stopped proxy can be started again; each start has connections of its own.
Rule 4: what runs beside the requests begins in an empty context: the trace and the log fields of the request
that has started the proxy are that request's alone.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from bff.app import App
from bff.hooks import BeforeForward, Hooks, OnEnd, OnSignIn
from bff.library.errors import BffError, answer_bff_error
from bff.library.placement import check_mounts, check_neighbours, placed
from bff.library.session_access import SessionAccess, User
from bff.settings.model import Settings
from bff.tasks import Tasks


@dataclass(eq=False)
class _Run:
    """The proxy on one event loop. `holders` are the lifespans that are under way."""

    loop: asyncio.AbstractEventLoop
    app: App
    access: SessionAccess
    starting: asyncio.Future[None] | None = None
    holders: int = 0
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)


_RUNS: WeakSet[_Run] = WeakSet()


class BFF:
    """The session proxy as a part of an application: an ASGI application, and its own users' sessions.

    Args:
        settings: the result of `load_settings`. `server.base_path` is the path that it is mounted at, as
            browsers see it; the settings of a listening server (`host`, `port`, `workers`, `ops_port`) do
            not count.
        on_sign_in: asked about each sign-in, before there is a session. It may raise `NotAllowed`.
        on_end: told of each session's end, afterwards.
        before_forward: asked about each call before it is forwarded; returns header fields to add, or None.
            It may raise `NotAllowed`.
        fields: the names of the fields that `before_forward` may set; a browser's own never reach a backend.
        hook_timeout: seconds that a hook may take. One that takes longer, or raises anything else than
            `NotAllowed`, has failed: a sign-in or a call does not go on.
        audiences: audiences for `token_for`, beside those of the routes.

    Raises:
        ValueError: the settings start an embedded Redis, or a field cannot be set by a hook.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_sign_in: OnSignIn | None = None,
        on_end: OnEnd | None = None,
        before_forward: BeforeForward | None = None,
        fields: Sequence[str] = (),
        hook_timeout: float = 5.0,
        audiences: Sequence[str] = (),
    ) -> None:
        if settings.redis.url.get_secret_value() == "embedded":
            raise ValueError('redis.url is "embedded", which `bff serve` alone starts: name a server')
        self.settings = settings
        self.base_path = settings.server.base_path
        self._hooks = Hooks(on_sign_in, on_end, before_forward, tuple(fields), hook_timeout)
        self._audiences = tuple(audiences)
        self._runs: WeakKeyDictionary[asyncio.AbstractEventLoop, _Run] = WeakKeyDictionary()
        self._starts = Tasks()

    # As a part of an application

    def install(self, app: Starlette) -> None:
        """Mounts it at its base path, runs it with the application's lifespan, and answers its errors.

        To be called once, behind the application's own routes.

        Raises:
            MountError: it is there already.
        """
        app.mount(self.base_path or "/", self, name="bff")
        check_mounts(app, self, self.base_path)
        app.add_exception_handler(BffError, answer_bff_error)  # type: ignore[arg-type] # Starlette knows no handler for both
        own = app.router.lifespan_context

        @asynccontextmanager
        async def both(host: Starlette) -> AsyncIterator[Any]:
            async with self.lifespan(host), own(host) as state:
                yield state

        app.router.lifespan_context = both

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Runs it: as an application's `lifespan`, or within one.

        Raises:
            MountError: `app` mounts it twice, or in front of routes that nobody can reach then.
        """
        check_mounts(app, self, self.base_path)
        run = await self._running()
        run.holders += 1
        try:
            yield
        finally:
            run.holders -= 1
            if not run.holders:
                await self.aclose()

    async def aclose(self) -> None:
        """Stops it on this event loop: rotations under way are waited for, then connections are closed."""
        run = self._runs.pop(asyncio.get_running_loop(), None)
        if run is None:
            return
        _RUNS.discard(run)
        if run.starting is not None:
            await asyncio.wait([run.starting])
        await run.stack.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point, of requests and, where it is the whole application, of a lifespan."""
        if scope["type"] == "lifespan":
            await Starlette(lifespan=self.lifespan)(scope, receive, send)
            return
        inner = placed(scope, self.base_path)
        run = self._runs.get(asyncio.get_running_loop())
        if run is None or run.starting is not None:
            run = await self._running()
        await run.app(inner, receive, send)

    # The sessions of requests to the application's own endpoints

    async def current_user(self, request: HTTPConnection) -> User | None:
        """Returns the signed-in user; None without one.

        Never refreshes a token. A request that may change something (any method but GET and HEAD) and that no
        page of this origin has sent has no user: it lacks the CSRF header, or is another site's (RFC 10017
        6.1.3.3). A request is a use of the session, which keeps it from ending for want of use.

        Raises:
            BffError: `store_unavailable`, where Redis cannot be asked.
        """
        return await (await self._running()).access.user(request, required=False)

    async def require_session(self, request: HTTPConnection) -> User:
        """Returns the signed-in user, if a page of this origin has sent the request; for any method.

        As FastAPI's dependency: `Depends(bff.require_session)`; for a WebSocket too, by its `Origin`.

        Raises:
            BffError: the same problem that a forwarded call would get: `session_missing`, `session_expired`,
                `session_ended` (401), `csrf_rejected` (403), `store_unavailable` (503).
        """
        user = await (await self._running()).access.user(request, required=True)
        assert user is not None
        return user

    async def token_for(self, request: HTTPConnection, audience: str | None = None) -> str:
        """Returns an access token for calls on the user's behalf; refreshed first if that is due.

        Without an `audience` it is the session's own token, else one that the provider gives in exchange for
        it (RFC 8693), as for a route with that audience. Never hand it to a browser. Ask anew for each
        request: the token may end at any time. The request is judged as by `current_user`.

        Raises:
            BffError: there is no session (401), the request is another site's (403), or Redis or the provider
                cannot be reached (503).
            ValueError: no route and no `audiences` names the audience.
        """
        return await (await self._running()).access.token(request, audience)

    async def metrics(self) -> tuple[bytes, str]:
        """Returns the metrics of this process in Prometheus' text format, and their content type."""
        return (await self._running()).app.metrics.render()

    async def _running(self) -> _Run:
        loop = asyncio.get_running_loop()
        run = self._runs.get(loop)
        if run is None:
            self._forget_closed()
            check_neighbours(self.settings, [each.app.settings for each in _RUNS if each.loop is loop])
            app = App(self.settings, hooks=self._hooks, audiences=self._audiences)
            run = self._runs[loop] = _Run(loop, app, SessionAccess(app))
            _RUNS.add(run)
            run.starting = self._starts.spawn(self._start(run), name="bff start", context=Context())
        if run.starting is not None:
            await asyncio.shield(run.starting)
        return run

    def _forget_closed(self) -> None:
        for loop in [each for each in self._runs if each.is_closed()]:
            _RUNS.discard(self._runs.pop(loop))

    async def _start(self, run: _Run) -> None:
        try:
            await run.stack.enter_async_context(run.app.running())
        except BaseException:
            _RUNS.discard(self._runs.pop(run.loop))
            raise
        run.starting = None
