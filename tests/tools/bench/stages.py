"""The cost of each stage of a forwarded request in one process, each timed alone in a loop.

The parts are those that the application has made (`App`), so that the figures are of what runs. What no loop
in one process can show, the event loop's and the kernel's share, is the rest: a core's second divided by the
requests that it answers, less the sum.
"""

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import uvloop

from bff.app import App
from bff.crypto import new_secret
from bff.embedded import EmbeddedRedis
from bff.observe.logs import access, configure
from bff.policy.admission import Admitted, RequestHead, admit
from bff.policy.fields import Fields, Header
from bff.policy.request_limits import RequestLimits
from bff.policy.routes import Matched
from bff.proxy.forward.asgi_app import ForwardingApp
from bff.proxy.forward.fast_path import FastCall
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.server.header_line_cache import LineCache
from bff.proxy.server.request_parser import RequestParser
from bff.proxy.server.response_writer import ResponseWriter
from bff.session.cached_session import CachedSession
from bff.session.model import Tokens
from bff.session.record import decode_record, encode_record
from bff.session.session_builder import Identity
from bff.session.sessions import Found, Sessions
from bff.settings.model import LogSettings, Settings
from bff.upstream.interfaces import UpstreamRequest
from bff.upstream.request_writer import request_head
from bff.upstream.response_parser import ResponseParser
from tests.tools.bench.environment import SMALL
from tests.tools.bench.living import living

_REPEATS = 7
_LOOP = 0.08
"""Seconds that one repetition takes."""
_TOKEN = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ." + "x" * 800
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 01 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"
) % (len(SMALL), SMALL)
_CROWD = 32
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's cost; `spread` is half the range by the median."""

    name: str
    what: str
    microseconds: float
    spread: float


@dataclass(frozen=True, slots=True)
class _Parts:
    """The objects that the loops need."""

    forwarding: ForwardingApp
    lines: LineCache
    sessions: Sessions
    request: RequestHead
    raw: bytes
    admitted: Admitted
    found: Found
    settings: Settings


def measure_stages() -> list[Stage]:
    """Times all stages; a private Redis serves those that ask one."""
    with EmbeddedRedis() as redis, contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123 - not a path of a project
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        configure(LogSettings(format="json"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measure(redis.url))


async def _measure(redis_url: str) -> list[Stage]:
    settings = _settings(redis_url)
    app = App(settings)
    async with living(app):
        parts = await _parts(app, settings)
        stages = [_timed(name, what, step) for name, what, step in _steps(parts)]
        cookies = parts.request.fields.values(b"cookie")
        async with asyncio.timeout(_PATIENCE):
            while parts.sessions.cached(cookies) is None:  # the push of its own writing comes first
                await parts.sessions.find(cookies)
                await asyncio.sleep(0.01)
        what = "the session by its cookie, from memory"
        stages.append(_timed("near cache", what, lambda: parts.sessions.cached(cookies)))
        stages += [await _timed_async(name, what, step, by) for name, what, step, by in _asking(parts)]
    return stages


def _settings(redis_url: str) -> Settings:
    return Settings.model_validate(
        {
            "server": {"public_url": "http://localhost:8080", "ops_port": None},
            "redis": {"url": redis_url},
            "session": {"keys": [new_secret()]},
            "provider": {"issuer": "http://localhost:9", "client_id": "x", "client_secret": "x"},
            "route": [
                {"path": "/api/orders", "upstream": "http://127.0.0.1:9/v1"},
                {"path": "/api/users", "upstream": "http://127.0.0.1:9"},
                {"path": "/api", "upstream": "http://127.0.0.1:9", "strip_prefix": False},
            ],
        }
    )


async def _parts(app: App, settings: Settings) -> _Parts:
    forwarding = app.frontend.forwarding
    sessions, now = app.frontend.sessions, time.time()
    found = await sessions.start(
        Identity("main", "alice", "s" * 32, "Alice Liddell", {"email": "alice@example.com", "amr": ["pwd"]}),
        Tokens(_TOKEN, now, now + 900, "r" * 43, now + 86400, _TOKEN, "openid profile offline_access"),
        user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        address="192.0.2.1",
    )
    headers: list[Header] = [
        (b"host", b"localhost:8080"),
        (b"accept", b"application/json"),
        (b"accept-language", b"en-GB,en;q=0.9"),
        (b"sec-fetch-site", b"same-origin"),
        (b"sec-fetch-mode", b"cors"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        (b"x-csrf", b"1"),
        (b"cookie", f"{sessions.cookie.name}={found.handle}".encode()),
    ]
    request = RequestHead(b"GET", b"/api/orders/7", b"page=2", Fields(headers), "127.0.0.1")
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    admitted = admit(request, forwarding.routes, forwarding.guard)
    assert isinstance(admitted, Admitted)
    raw = b"GET /api/orders/7?page=2 HTTP/1.1\r\n" + lines + b"\r\n"
    return _Parts(forwarding, app.in_force.lines, sessions, request, raw, admitted, found, settings)


Step = tuple[str, str, Callable[[], object]]


def _steps(parts: _Parts) -> list[Step]:
    return [*_plain(parts), *_arriving(parts), *_session(parts), *_forwarded(parts), *_answered(parts)]


def _plain(parts: _Parts) -> list[Step]:
    """The parts of a call on the fast path."""
    path = parts.forwarding.fast_path
    lines = parts.lines
    route = next(each for each in path._by_number if each and each.shared.route is parts.admitted.route)
    request = lines.read(parts.raw)
    assert request is not None
    matched = Matched(parts.admitted.route, parts.admitted.target)
    packed = CachedSession.of(
        parts.found.handle, parts.found.session, route.credentials.quiet_until(parts.found)
    )
    ready = route.credentials.quiet(packed)
    assert ready is not None
    client = cast("Any", None)
    count = route.requests[route.shared.methods[b"GET"].place]
    call = FastCall(route, matched, request, "127.0.0.1", client)
    call.ready = ready
    draw = path.context.request_ids.draw
    responses = route.responses

    def account() -> None:
        count.add(200, 0.0012)
        access(
            method=b"GET",
            path=b"/api/orders/7",
            status=200,
            duration=0.0012,
            route="/api",
            request_id="f" * 32,
            session=parts.found.session.key,
        )

    return [
        ("fast lines", "take the request apart by its lines", lambda: lines.read(parts.raw)),
        ("fast session", "is the token good", lambda: route.credentials.quiet(packed)),
        ("fast head", "the head for the backend", lambda: call._head(draw())),
        ("fast answer", "read the answer into the client's lines, 1.1 kB", lambda: responses.read(_ANSWER)),
        ("fast account", "metrics and access line", account),
    ]


def _arriving(parts: _Parts) -> list[Step]:
    parser = RequestParser(RequestLimits.configured(parts.settings.server))
    forwarding, request = parts.forwarding, parts.request
    ids = forwarding.context.request_ids
    return [
        ("head", "parse and judge the request's head", lambda: parser.feed(parts.raw)),
        ("route", "find the route by its path", lambda: forwarding.routes.match(request.raw_path)),
        (
            "admission",
            "route, method, query, guard, size",
            lambda: admit(request, forwarding.routes, forwarding.guard),
        ),
        ("ids", "client's address, request id, trace context", lambda: ids(request)),
    ]


def _session(parts: _Parts) -> list[Step]:
    found, keyring = parts.found, parts.sessions._keyring
    record = encode_record(found.session, found.handle, keyring)
    handle, key = found.handle.encode(), found.session.key
    return [
        ("signature", "verify a handle", lambda: keyring.accepts(handle)),
        ("unseal", "open a record", lambda: decode_record(key, record, found.handle, keyring)),
    ]


def _forwarded(parts: _Parts) -> list[Step]:
    context, request, admitted = parts.forwarding.context, parts.request, parts.admitted
    rules = context.destinations[admitted.route.path].rules
    ids = context.request_ids(request)
    headers = rules.request(request.fields, ids)
    upstream = UpstreamRequest(b"GET", b"/v1/7?page=2", b"127.0.0.1:9", headers, 0)
    client = cast("Any", None)

    def begin() -> object:
        return ForwardedCall(context, request, admitted, client)

    return [
        ("forwarded call", "the state of one call; includes `ids`", begin),
        (
            "request rules",
            "which headers pass, and ours",
            lambda: rules.request(request.fields, ids),
        ),
        ("request head", "write the head for the backend, and check it", lambda: request_head(upstream)),
    ]


def _answered(parts: _Parts) -> list[Step]:
    reader = ResponseParser()
    context = parts.forwarding.context
    rules = context.destinations[parts.admitted.route.path].rules

    def read() -> None:
        reader.begin(no_content=False)
        reader.feed(_ANSWER)

    read()
    headers = list(reader.headers)
    rendered = rules.response(200, headers)
    nothing = cast("Any", _Nothing())
    writer = ResponseWriter(nothing, nothing, nothing)

    def write() -> None:
        writer.begin(None)
        writer.head(200, rendered)
        writer.data(SMALL)
        writer.end()

    finished = context.metrics.request_finished
    return [
        ("answer", "read the backend's answer, 1.1 kB", read),
        ("answer rules", "which headers pass, and ours", lambda: rules.response(200, headers)),
        ("write", "write the answer to the client", write),
        ("metrics", "count and time it", lambda: finished("/api/orders", "GET", 200, 0.0012)),
        ("access line", "one JSON line, written in batches", _access_line(parts)),
    ]


def _access_line(parts: _Parts) -> Callable[[], object]:
    ids = parts.forwarding.context.request_ids(parts.request)
    request_id, session = ids.request_id.decode(), parts.found.session.id

    def line() -> None:
        access(
            method=b"GET",
            path=b"/api/orders/7",
            status=200,
            duration=0.0012,
            route="/api/orders",
            request_id=request_id,
            session=session,
        )

    return line


def _asking(parts: _Parts) -> list[tuple[str, str, Callable[[], Awaitable[object]], int]]:
    sessions, cookies = parts.sessions, parts.request.fields.values(b"cookie")

    async def crowd() -> None:
        await asyncio.gather(*(sessions.find(cookies) for _ in range(_CROWD)))

    return [
        ("Redis, alone", "a session from Redis, one at a time", lambda: sessions.find(cookies), 1),
        ("Redis, crowd", f"the same, {_CROWD} at once, for each", crowd, _CROWD),
    ]


class _Nothing:
    """A transport, a loop and a server's state, as far as a writer needs them; it swallows all."""

    default_headers = ((b"date", b"Sun, 01 Nov 2026 12:00:00 GMT"),)

    def call_soon(self, step: Callable[[], None]) -> None:
        """Forgets it: the loop would find nothing to do."""

    def write(self, data: bytes) -> None:
        """Swallows it."""

    def is_closing(self) -> bool:
        return False


def _timed(name: str, what: str, step: Callable[[], object]) -> Stage:
    count = 1
    while (took := _loop(step, count)) < _LOOP / 4:
        count *= 4
    count = max(1, round(count * _LOOP / took))
    return _stage(name, what, [_loop(step, count) / count for _ in range(_REPEATS)])


def _loop(step: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - started


async def _timed_async(name: str, what: str, step: Callable[[], Awaitable[object]], by: int) -> Stage:
    await step()
    found = []
    for _ in range(_REPEATS):
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < _LOOP:
            await step()
            count += 1
        found.append((time.perf_counter() - started) / count / by)
    return _stage(name, what, found)


def _stage(name: str, what: str, seconds: list[float]) -> Stage:
    middle = statistics.median(seconds)
    return Stage(name, what, middle * 1e6, (max(seconds) - min(seconds)) / 2 / middle)
