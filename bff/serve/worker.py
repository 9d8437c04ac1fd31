"""One serving process: its signals, and a stop that loses nothing.

Rule 1: at a stop readiness goes off first; then, after `shutdown_delay`, the listener closes, the requests in
flight finish, the application ends, and the ops port last of all.
Rule 2: a worker whose successor serves already (`retire`), or that had a delay, closes its listener and lets
each idle connection carry one more answer, for a moment: a reverse proxy may be sending on it just now.
Rule 3: `shutdown_timeout` bounds the wait for requests. Alone, a second signal ends it at once; under a
supervisor that is the supervisor's to say, since a service manager signals all processes of a service.
Rule 4: SIGHUP reloads, and never ends the process (`signals.py`).

Alone it is the whole service (`lone_worker.py`), under a supervisor a program of its own (`team_worker.py`).
"""

import asyncio
import contextlib
import gc
import math
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn

from bff.live_settings import Reloaded
from bff.observe.logs import configure, get_logger, reopen_audit
from bff.policy.frontend_table import hosts_of
from bff.policy.request_refusal import Refusal
from bff.proxy.server.http_protocol import HttpServerProtocol
from bff.proxy.server.websocket_protocol import WebSocketServerProtocol
from bff.serve.huge_pages import keep_huge
from bff.serve.resources import LAST_WORDS
from bff.serve.served_app import ServedApp
from bff.serve.signals import RELOAD, ROLL, unblock
from bff.serve.uvicorn_config import client_protocol, protocol_options, websocket_options
from bff.settings.frontends import all_routes
from bff.settings.model import Settings
from bff.tasks import Tasks

_LOOK = 0.05  # seconds between two looks at a signal's flag, or a connection's end

_log = get_logger("bff.serve")


class Worker(uvicorn.Server):
    """A serving process: uvicorn's server with our protocol, our signals and our stop."""

    drain_time = 2.0
    """The seconds in which an idle connection may carry one more answer: one in use has its call soon."""

    def __init__(self, settings: Settings, app: ServedApp) -> None:
        def refused(refusal: Refusal, address: str) -> None:
            app.metrics.problem_sent(refusal.problem)
            host = {} if refusal.host is None else {"host": refusal.host}
            _log.info("refused", code=refusal.problem.code, detail=refusal.detail, address=address, **host)

        server = settings.server
        super().__init__(
            uvicorn.Config(
                app,
                http=client_protocol(server, refused, settings.forward_auth.hosts, hosts_of(settings)),
                **websocket_options(server, all_routes(settings)),
                interface="asgi3",
                lifespan="on",
                log_config=None,
                log_level="warning",  # its life is told by our own lines
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=True,  # of every answer: a backend's own is not passed on
                timeout_keep_alive=math.ceil(server.keep_alive),
                timeout_graceful_shutdown=math.ceil(server.shutdown_timeout)
                + 1,  # our own is first: `_cut_off`
            )
        )
        self._settings = settings
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks = Tasks()
        self._reloads = asyncio.Lock()
        self.drains = settings.server.shutdown_delay > 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, then listens."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        gc.collect()
        gc.set_threshold(10_000, 20, 20)  # calls make few cycles, and many objects
        self._tasks.spawn(keep_huge(lambda: self._settings), name="huge pages")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops as Rule 1 says."""
        server = self._settings.server
        await self._tasks.cancel_all()
        until = time.monotonic() + self._delay()
        while time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110 - a signal sets it
            await asyncio.sleep(_LOOK)
        if self.drains:
            await self._drain()
        assert self._loop is not None
        cut_off = self._loop.call_later(server.shutdown_timeout, self._cut_off)
        try:
            async with asyncio.timeout(server.shutdown_timeout + LAST_WORDS):
                await super().shutdown(sockets)
        except TimeoutError:
            _log.error("stop_timed_out", detail="the application did not end in time")
        finally:
            cut_off.cancel()

    def run_on(self, listener: socket.socket) -> int:
        """Serves until it is stopped; returns the process' exit code, 0 after a clean stop."""
        try:
            self.run(sockets=[listener])
        except SystemExit:  # uvicorn's way to say that the application did not start; it has logged why
            return 1
        _log.info("stopped", forced=self.force_exit)
        return 1 if self.force_exit else 0

    def _delay(self) -> float:
        """Seconds for which requests are still taken after the stop began."""
        return self._settings.server.shutdown_delay

    async def _drain(self) -> None:
        """Takes no connections, and lets those there are carry one more answer (Rule 2)."""
        for listening in self.servers:
            listening.close()
        until = time.monotonic() + self.drain_time
        while self.server_state.connections and time.monotonic() < until and not self.force_exit:
            for connection in list(self.server_state.connections):
                if isinstance(connection, HttpServerProtocol | WebSocketServerProtocol):
                    connection.drain()
            await asyncio.sleep(_LOOK)

    def _cut_off(self) -> None:
        """Ends the requests whose time is over, before uvicorn does and logs it as an error."""
        _log.warning("requests_cut_off", connections=len(self.server_state.connections))
        self._abort_connections()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes the signals. Unlike uvicorn's it does not raise them again: a stop is no failure."""
        handlers = {
            signal.SIGTERM: self.handle_exit,
            signal.SIGINT: self.handle_exit,
            RELOAD: self._handle_reload,
            ROLL: self._handle_roll,
        }
        former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        unblock()
        try:
            yield
        finally:
            for number, handler in former.items():
                if number not in {RELOAD, ROLL}:  # a SIGHUP now still ends nothing
                    signal.signal(number, handler)

    def _handle_reload(self, _: int, __: FrameType | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.reload)

    def _handle_roll(self, _: int, __: FrameType | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.cannot_roll)

    def reload(self, newer: Settings | None = None) -> None:
        """Begins to reload, after a reload that is under way."""
        if not self.should_exit:
            self._tasks.spawn(self._reload_in_turn(newer), name="reload")

    def cannot_roll(self) -> None:
        """SIGUSR2 is not for this process."""

    async def _reload_in_turn(self, newer: Settings | None) -> None:
        async with self._reloads:
            await self._reload(newer)

    async def _reload(self, newer: Settings | None) -> Reloaded:
        reopen_audit()
        reloaded = await self._app.reload(newer, self._serve_by)
        if any(name.startswith("log.") for name in reloaded.changed):
            configure(reloaded.settings.log)
        self._settings = reloaded.settings
        if reloaded.changed:
            gc.collect()  # what was replaced: else it would stay for as long as few objects are made
        return reloaded

    def _serve_by(self, settings: Settings) -> None:
        """Gives the connections that begin from now on the limits of other settings."""
        self._settings, config = settings, self.config
        made, server = protocol_options(settings), settings.server
        config.http_protocol_class.limits = made.limits  # type: ignore[attr-defined] # it is `client_protocol`'s
        config.ws_protocol_class = made.websocket
        config.ws_max_size = made.max_message
        config.ws_ping_interval = config.ws_ping_timeout = server.websocket_ping
        config.timeout_keep_alive = math.ceil(server.keep_alive)
        config.timeout_graceful_shutdown = math.ceil(server.shutdown_timeout) + 1
        self.drains = server.shutdown_delay > 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's form
        """A signal stops."""
        self.stop()

    def stop(self) -> None:
        """Begins to stop."""
        self.should_exit = True

    def force(self) -> None:
        """Ends the stop at once; safe in a signal handler."""
        self.should_exit = self.force_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._abort_connections)

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpServerProtocol | WebSocketServerProtocol):
                connection.transport.abort()
