"""One serving process: its sockets, its signals, and a stop that loses nothing.

Rule 1: at a stop readiness goes off first; then, after `shutdown_delay`, the listeners close, the requests in
flight finish, the application ends, and the ops port last of all.
Rule 2: `shutdown_timeout` bounds the wait for requests; a second signal ends it at once.
Rule 3: the sockets are bound before anything else is started, so that a port in use is the only message.
"""

import asyncio
import contextlib
import errno
import math
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Protocol

import uvicorn
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from bff import __version__
from bff.app import create_app
from bff.embedded import EmbeddedRedis, EmbeddedRedisError
from bff.observe.logs import configure, get_logger
from bff.observe.metrics import Metrics
from bff.proxy.front_door import Refusal
from bff.proxy.protocol import GuardedHttpProtocol, guarded_protocol
from bff.serve.ops import CheckResult, OpsServer
from bff.settings.model import Settings
from bff.settings.urls import redis_target

_BACKLOG = 2048
_LAST_WORDS = 5.0
"""What the application gets for its own end, in seconds, after the requests had `shutdown_timeout`."""

_ENOUGH_DESCRIPTORS = 4096
_MOST_DESCRIPTORS = 1024 * 1024

_log = get_logger("bff.serve")


class ServedApp(Protocol):
    """What a worker serves."""

    metrics: Metrics

    async def readiness(self) -> Sequence[CheckResult]:
        """Whether requests may come here."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        ...


class CannotListenError(Exception):
    """A socket cannot be bound; the message names the setting and the way out."""


def run(settings: Settings, make_app: Callable[[Settings], ServedApp] = create_app) -> int:
    """Serves until a signal comes; returns the process' exit code, 0 after a clean stop."""
    configure(settings.log)
    _raise_descriptor_limit()
    server = settings.server
    try:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(_bound("server.port", server.host, server.port))
            ops = None
            if server.ops_port is not None:
                ops = stack.enter_context(_bound("server.ops_port", server.ops_host, server.ops_port))
            if settings.redis.url.get_secret_value() == "embedded":
                redis = stack.enter_context(EmbeddedRedis())
                _log.info("embedded_redis", kind=redis.kind, port=redis.port)
                located = settings.redis.model_copy(update={"url": SecretStr(redis.url)})
                settings = settings.model_copy(update={"redis": located})
            return _serve(settings, make_app(settings), listener, ops)
    except (CannotListenError, EmbeddedRedisError) as failure:
        _log.error("cannot_start", detail=str(failure))
        return 1


def _serve(settings: Settings, app: ServedApp, listener: socket.socket, ops: socket.socket | None) -> int:
    worker = Worker(settings, app, listener, ops)
    try:
        worker.run(sockets=[listener])
    except SystemExit:  # uvicorn's way to say that the application did not start; it has logged why
        return 1
    _log.info("stopped", forced=worker.force_exit)
    return 1 if worker.force_exit else 0


class Worker(uvicorn.Server):
    """The server of one process: uvicorn's, with our start, our stop and the ops port."""

    def __init__(
        self, settings: Settings, app: ServedApp, listener: socket.socket, ops: socket.socket | None
    ) -> None:
        def refused(refusal: Refusal, address: str) -> None:
            app.metrics.problem_sent(refusal.problem)
            _log.info("refused", code=refusal.problem.code, detail=refusal.detail, address=address)

        server = settings.server
        super().__init__(
            uvicorn.Config(
                app,
                http=guarded_protocol(server, refused),
                ws="none",
                interface="asgi3",
                lifespan="on",
                log_config=None,
                log_level="warning",  # its life is told by our own lines
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=True,  # of every answer: a backend's own is not passed on
                timeout_keep_alive=math.ceil(server.keep_alive),
                timeout_graceful_shutdown=math.ceil(server.shutdown_timeout),
            )
        )
        self._settings = settings
        self._listener = listener
        self._ops_listener = ops
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ops = OpsServer(app.metrics, app.readiness)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, then listens."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._ops_listener is not None:
            await self._ops.start(self._ops_listener)
        settings = self._settings
        _log.info(
            "listening",
            version=__version__,
            address=_name(self._listener),
            public_url=settings.server.public_url,
            ops=None if self._ops_listener is None else _name(self._ops_listener),
            redis=redis_target(settings.redis.url.get_secret_value()),
            provider=settings.provider.issuer,
            routes=len(settings.route),
            loop=type(self._loop).__module__.partition(".")[0],
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops as Rule 1 says."""
        server = self._settings.server
        self._ops.stopping = True
        _log.info("stopping", delay=server.shutdown_delay, timeout=server.shutdown_timeout)
        until = time.monotonic() + server.shutdown_delay
        while time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110 - a signal sets it
            await asyncio.sleep(0.05)
        try:
            async with asyncio.timeout(server.shutdown_timeout + _LAST_WORDS):
                await super().shutdown(sockets)
        except TimeoutError:
            _log.error("stop_timed_out", detail="the application did not end in time")
        await self._ops.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes SIGTERM and SIGINT. Unlike uvicorn's it does not raise them again: a stop is no failure."""
        former = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's form
        """The first signal stops, the second forces."""
        if self.should_exit and self._loop is not None:
            self.force_exit = True
            self._loop.call_soon_threadsafe(self._abort_connections)
        self.should_exit = True

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, GuardedHttpProtocol):
                connection.transport.abort()


def _bound(setting: str, host: str, port: int) -> socket.socket:
    """A listening socket; CannotListenError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        variable = "BFF_" + setting.upper().replace(".", "__")
        way_out = f"set {setting} ({variable}) to another, or 0 for any free one"
        if error.errno == errno.EADDRINUSE:
            raise CannotListenError(
                f"port {port} on {host} is in use: stop what listens there, or {way_out}"
            ) from None
        if error.errno == errno.EACCES:
            raise CannotListenError(f"port {port} is not open to this user: {way_out}") from None
        raise CannotListenError(f"cannot listen on {host} port {port}: {error.strerror}; {way_out}") from None
    listener.setblocking(False)
    return listener


def _name(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _raise_descriptor_limit() -> None:
    """Each proxied call takes two descriptors; the usual soft limit of 1,024 is there for `select`."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if 0 <= soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if 0 <= soft < _ENOUGH_DESCRIPTORS:
        _log.warning("few_descriptors", limit=soft, detail="raise it (ulimit -n): each call takes two")
