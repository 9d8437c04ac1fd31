"""The data path of one worker in one process: the application as it runs, its sockets replaced by memory.

A client's reads are handed to its connection, a backend's reads to the pool's connection, by plain calls. So
a call takes the same instructions each time, whatever else the machine does. The connection to Redis is a
real one: calls whose session is read from there wait for its reply.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from types import SimpleNamespace
from typing import Any, Literal
from unittest import mock

from bff.app import App
from bff.crypto import new_secret
from bff.proxy.server.http_protocol import HttpServerProtocol
from bff.serve.uvicorn_config import client_protocol
from bff.session import invalidation_feed
from bff.session.model import Tokens
from bff.session.near_cache import NearCache
from bff.session.session_builder import Identity
from bff.session.sessions import NoSession
from bff.settings.model import Settings
from bff.upstream.connection import UpstreamConnection
from tests.tools.bench.environment import BIG, SMALL, TAKEN
from tests.tools.bench.living import living
from tests.tools.bench.load import LoadError
from tests.tools.bench.traffic import browser_fields, requests, through_nginx

Load = Literal["mixed", "forwarded", "get", "miss", "miss-raw", "slide"]
"""`mixed` and `forwarded` as the bench sends them; `get` has the GETs of `mixed` alone, and so has `miss`,
each of a session that the near cache does not hold; `miss-raw` with `session.record_format = 2`; `slide` has
them of sessions in the near cache, the use of each of which is to be noted, and waits until it has been."""

LOADS: tuple[Load, ...] = ("mixed", "forwarded", "get", "miss", "miss-raw", "slide")

_PORT = 8080
_TOKEN = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ." + "x" * 800
_ONE_READ = 65_536
_TRIES = 50
_NOTED_EVERY = 1  # second, by which a clock is put forward for each call whose use is to be noted
_FIELDS = (
    b"Server: nginx/1.22.1\r\nDate: Sun, 01 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n"
)
_OF_A_FILE = b'Last-Modified: Sun, 01 Nov 2026 11:00:00 GMT\r\nETag: "6544-19000"\r\nAccept-Ranges: bytes\r\n'
_UNCHANGED = (
    b"HTTP/1.1 304 Not Modified\r\nServer: nginx/1.22.1\r\nDate: Sun, 01 Nov 2026 12:00:00 GMT\r\n"
    b"Connection: keep-alive\r\n\r\n"
)


def _answer(content: bytes, more: bytes = b"") -> list[bytes]:
    whole = b"HTTP/1.1 200 OK\r\n" + _FIELDS % len(content) + more + b"\r\n" + content
    return [whole[at : at + _ONE_READ] for at in range(0, len(whole), _ONE_READ)]


ANSWERS = {
    b"json": _answer(SMALL),
    b"post": _answer(TAKEN),
    b"large": _answer(BIG, _OF_A_FILE),
    b"same": [_UNCHANGED],
}
"""The reads of a backend's answer, by the second segment of the path that was asked for."""


class CallLoop:
    """Calls that one worker answers from memory, in turn.

    Attributes:
        app: the application.
        different: the number of calls that differ.
    """

    def __init__(
        self,
        app: App,
        client: HttpServerProtocol,
        backend: UpstreamConnection,
        calls: Sequence[bytes],
        *,
        load: Load,
        clock: "Clock",
    ) -> None:
        self.app = app
        self.different = len(calls)
        self._missing, self._noted = load.startswith("miss"), load == "slide"
        self._clock = clock
        self._calls = cycle([(call, ANSWERS[call.split(b"/", 3)[2]]) for call in calls])
        self._client, self._backend = client, backend

    async def run(self, count: int) -> None:
        """Makes so many calls, each on the fast path; the near cache has all of their sessions, or none.

        Raises:
            LoadError: one was not.
        """
        counts = self.app.metrics.near_cache
        before, misses = counts.hits, counts.misses
        if self._missing:
            await self._run_missing(count)
        elif self._noted:
            await self._run_noted(count)
        else:
            self._run_found(count)
        found, read = counts.hits - before, counts.misses - misses
        if (read if self._missing else found) != count or self._client._fast is not None:
            raise LoadError("calls that were not answered on the fast path")

    def _run_found(self, count: int) -> None:
        take, answer = self._client.data_received, self._backend.data_received
        for _ in range(count):
            request, reads = next(self._calls)
            take(request)
            for read in reads:
                answer(read)

    async def _run_missing(self, count: int) -> None:
        take, answer = self._client.data_received, self._backend.data_received
        wire, loop = self._backend._transport, asyncio.get_running_loop()
        cache = self.app.frontends.every[0].sessions._cache
        assert isinstance(wire, _Memory)
        assert cache is not None
        for _ in range(count):
            request, reads = next(self._calls)
            cache.changed(None)  # it holds the session of the last call alone
            sent = loop.create_future()
            wire.written = partial(sent.set_result, None)
            take(request)
            await sent
            for read in reads:
                answer(read)

    async def _run_noted(self, count: int) -> None:
        take, answer = self._client.data_received, self._backend.data_received
        loop, keep = asyncio.get_running_loop(), NearCache.keep

        def kept(*what: Any) -> None:
            keep(*what)
            noted.set_result(None)

        with mock.patch.object(NearCache, "keep", kept):
            for _ in range(count):
                request, reads = next(self._calls)
                self._clock.ahead += _NOTED_EVERY
                noted = loop.create_future()
                take(request)
                for read in reads:
                    answer(read)
                await noted  # the session is in the near cache again


class Clock:
    """The application's clock.

    Attributes:
        ahead: seconds by which it is ahead of the machine's.
    """

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@contextlib.asynccontextmanager
async def call_loop(
    redis_url: str, load: Load, *, frontends: int = 1, users: int = 200, different: int = 2000
) -> AsyncIterator[CallLoop]:
    """Runs an application of so many frontends; users, all signed in, are of each in turn."""
    places = ["", *(f"f{number}" for number in range(1, frontends))]
    clock = Clock()
    settings = _settings(redis_url, places, load)
    app = App(settings, clock=clock) if load == "slide" else App(settings)
    with _trusting():
        async with living(app) as state:
            browsers = await _signed_in(app, places, users)
            calls = requests(browsers, different, forwarded=load == "forwarded")
            if load == "forwarded":
                calls = [through_nginx(call, number) for number, call in enumerate(calls)]
            if load not in {"mixed", "forwarded"}:
                calls = [call for call in calls if call.startswith(b"GET /api/json/")]
            client, backend = _client(app, state), _backend(app)
            try:
                yield CallLoop(app, client, backend, calls, load=load, clock=clock)
            finally:
                backend.connection_lost(None)
                client.connection_lost(None)


@contextlib.contextmanager
def _trusting() -> Iterator[None]:
    """Has the feed ask, and calls look for its pushes, once an hour: neither would be the same each time."""
    with (
        mock.patch.object(invalidation_feed, "LEASE", 7200.0),
        mock.patch.object(invalidation_feed, "_ASK_EVERY", 3600.0),
        mock.patch.object(invalidation_feed, "LOOK_EVERY", 3600.0),
    ):
        yield


def _host(place: str) -> str:
    return f"{place}.localhost:{_PORT}" if place else f"localhost:{_PORT}"


def _settings(redis_url: str, places: Sequence[str], load: Load) -> Settings:
    named = [{"name": place, "public_url": f"http://{_host(place)}"} for place in places if place]
    return Settings.model_validate(
        {
            "server": {
                "public_url": f"http://{_host('')}",
                "ops_port": None,
                "trusted_proxies": ["127.0.0.1"],
            },
            "redis": {"url": redis_url, "timeout": "60s"},  # a process under valgrind is slow
            "session": {
                "keys": [new_secret()],
                "idle_timeout": "10h",
                "slide_interval": _NOTED_EVERY if load == "slide" else "2h",
                "record_format": 2 if load == "miss-raw" else 1,
            },
            "provider": {"issuer": "http://localhost:9", "client_id": "x", "client_secret": "x"},
            "route": [{"path": "/api", "upstream": "http://127.0.0.1:9", "strip_prefix": False}],
            "frontend": named,
        }
    )


async def _signed_in(app: App, places: Sequence[str], users: int) -> list[dict[str, str]]:
    """Signs users in, and waits until the near cache has all of their sessions."""
    now, every, signed = time.time(), app.frontends.every, []
    for number in range(users):
        sessions = every[number % len(places)].sessions
        found = await sessions.start(
            Identity("main", f"u{number}", f"{number:032d}", "Alice Liddell", {"amr": ["pwd"]}),
            Tokens(
                _TOKEN, now, now + 36_000, "r" * 43, now + 86_400, _TOKEN, "openid profile offline_access"
            ),
            user_agent="Mozilla/5.0",
            address="192.0.2.1",
        )
        signed.append((places[number % len(places)], sessions, found.handle))
    for _, sessions, handle in signed:
        cookie = f"{sessions.cookie.name}={handle}"
        for _ in range(_TRIES):
            if isinstance(await sessions.open(handle), NoSession):
                raise LoadError("a session is gone")
            if sessions.near(cookie.encode()) is not None:
                break
            await asyncio.sleep(0.02)  # the push of its own writing comes first
    return [
        {**browser_fields(_host(place)), "Cookie": f"{sessions.cookie.name}={handle}"}
        for place, sessions, handle in signed
    ]


def _client(app: App, state: dict[str, Any]) -> HttpServerProtocol:
    """Connects a client to the application, as uvicorn does."""
    config = SimpleNamespace(
        loaded=True,
        loaded_app=app,
        timeout_keep_alive=75,
        ws_protocol_class=None,
        asgi_version="3.0",
        root_path="",
        is_ssl=False,
        ssl=None,
    )
    server: Any = SimpleNamespace(
        connections=set(),
        tasks=set(),
        total_requests=0,
        default_headers=[(b"date", b"Sun, 01 Nov 2026 12:00:00 GMT")],
    )
    limits = client_protocol(
        app.settings.server, hosts=None if app.frontends.table is None else app.frontends.table.hosts
    )
    made: HttpServerProtocol = limits(config, server, state, asyncio.get_running_loop())
    made.connection_made(_Memory())
    return made


def _backend(app: App) -> UpstreamConnection:
    """Gives the pool a connection."""
    (pool,) = app.frontends.pools()
    made = UpstreamConnection(asyncio.get_running_loop(), pool)
    made.connection_made(_Memory())
    pool._open.add(made)
    pool._slots += 1
    pool.free(made)
    return made


class _Socket:
    """A socket that takes all options."""

    family, type = 2, 1

    def setsockopt(self, *_: object) -> None:
        """Takes an option."""


class _Memory(asyncio.Transport):
    """A transport that drops what is written.

    Attributes:
        written: called at each write.
    """

    written: Callable[[], None] | None

    def __init__(self) -> None:
        super().__init__(
            {
                "peername": ("127.0.0.1", 5555),
                "sockname": ("127.0.0.1", _PORT),
                "socket": _Socket(),
                "sslcontext": None,
            }
        )
        self.written = None  # its own: to find the class's takes a search, in some processes

    def write(self, data: object) -> None:  # noqa: ARG002 - it is dropped
        """Drops the bytes."""
        if self.written is not None:
            self.written()

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Does nothing: reads are handed over by the loop."""

    def resume_reading(self) -> None:
        """Likewise."""

    def close(self) -> None:
        """Stays open."""

    def abort(self) -> None:
        """Likewise."""
