"""GET /bff/events: a page is told when its session ends, is about to, or was refreshed.

Rule 1: it is no use of the session: nothing here slides the idle timeout (B-36).
Rule 2: one timer for all streams of the process; a session's end and changes come by `ExpiryWatch`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from prometheus_client import Gauge
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bff.errors import Problem
from bff.observe.logs import get_logger
from bff.open_streams import OpenStreams, stream_lifetime
from bff.policy.bounded_counts import Counts
from bff.policy.csrf import Guard
from bff.session.expiry_watch import ExpiryWatch
from bff.session.page_events import news
from bff.session.sessions import Found, NoSession, Sessions
from bff.settings.model import LimitSettings, ServerSettings, SessionSettings
from bff.tasks import Tasks
from bff.web.authentication import signed_in
from bff.web.event_stream import HEADERS, EventStream
from bff.web.responses import problem_answer

_PATH = "/bff/events"
_ALL = "all"  # the key of the count of the process
_TICK = 1.0  # seconds; less where heartbeats are asked for more often
_COME_BACK = 30.0  # seconds after which a page may try again where there are too many streams
_log = get_logger("bff.web")


class EventsEndpoint:
    """The endpoint, and all of its streams. `clock` gives seconds since the epoch.

    The streams of a `former` one count on.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        guard: Guard,
        watch: ExpiryWatch,
        streams: OpenStreams,
        tasks: Tasks,
        session: SessionSettings,
        limits: LimitSettings,
        server: ServerSettings,
        open_streams: Gauge,
        clock: Callable[[], float],
        former: "EventsEndpoint | None" = None,
    ) -> None:
        self._sessions = sessions
        self._guard = guard
        self._watch = watch
        self._streams = streams
        self._tasks = tasks
        self._settings = session
        of_session, of_all = (None, None) if former is None else former.counts()
        self._of_session = Counts(limits.events_per_session, of_session)
        self._all = Counts(limits.events_per_process, of_all)
        self._heartbeat = server.events_heartbeat
        self._tick_every = min(_TICK, self._heartbeat / 2)
        self._gauge = open_streams
        self._trusted = server.trusted_proxies
        self._base_path, self._public_path = server.base_path, server.base_path + _PATH
        self._clock = clock
        self._open: dict[EventStream, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def counts(self) -> tuple[Counts, Counts]:
        """Returns the counts of streams under way: of each session, and of all."""
        return self._of_session, self._all

    def routes(self) -> list[Route]:
        """The route, for the list of routes; `before` answers its requests."""
        return [Route(_PATH, self)]

    def before(self, app: ASGIApp) -> ASGIApp:
        """The application behind this endpoint: within a router each stream would hold all of its frames."""

        def answer(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            ours = scope["type"] == "http" and scope["path"] == self._public_path
            if ours:
                scope["root_path"] = self._base_path  # as the router does for all others
            return (self if ours else app)(scope, receive, send)

        return answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        answer = await self._admitted(Request(scope))  # which is not kept for as long as the stream
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        key = answer.session.key
        if not self._of_session.enter(key):
            await self._too_many("event streams of this session")(scope, receive, send)
            return
        if not self._all.enter(_ALL):
            self._of_session.leave(key)
            await self._too_many("event streams")(scope, receive, send)
            return
        self._gauge.inc()
        try:
            await self._serve(answer, receive, send)
        finally:
            self._gauge.dec()
            self._all.leave(_ALL)
            self._of_session.leave(key)

    async def _admitted(self, request: Request) -> Found | Response:
        """The session of a request that a stream is for; else the answer."""
        if request.method not in {"GET", "HEAD"}:
            return problem_answer(Problem.METHOD_NOT_ALLOWED, headers=[(b"allow", b"GET")])
        found = await signed_in(request, self._sessions, self._guard, self._trusted)
        if isinstance(found, Response):
            return found
        if request.method == "HEAD":
            return Response(headers={name.decode(): value.decode() for name, value in HEADERS})
        return found

    def _too_many(self, what: str) -> Response:
        _log.info("too_many", what=what, route=_PATH)
        return problem_answer(Problem.RATE_LIMITED, detail=f"too many {what}", retry_after=_COME_BACK)

    async def _serve(self, found: Found, receive: Receive, send: Send) -> None:
        watched = self._watch.join(found)
        try:
            stream = EventStream(send, self._tasks, watched, found.session.version)
            await stream.begin()
            await self._follow(stream, receive)
        finally:
            self._watch.leave(watched)

    async def _follow(self, stream: EventStream, receive: Receive) -> None:
        watched, ended = stream.watched, partial(_ended, stream)
        watched.over.add_done_callback(ended)
        watched.followers[stream] = partial(self._look, stream)
        self._open[stream] = None
        stream.beat_at = time.monotonic() + self._heartbeat
        self._wind_up()
        lasts = stream_lifetime(watched.found.session, self._settings.bound_stream_lifetime)
        self._streams.begin(stream, lasts)
        self._look(stream)
        try:
            await stream.left(receive)
        finally:
            del self._open[stream], watched.followers[stream]
            watched.over.remove_done_callback(ended)
            self._streams.end(stream)

    def _look(self, stream: EventStream) -> None:
        """Sends a page the changes of its session since the last read."""
        session = stream.watched.found.session
        due = news(
            stream.told,
            session,
            self._clock(),
            idle_timeout=self._settings.idle_timeout,
            notice=self._settings.ending_notice,
        )
        stream.told, stream.look_at = due.told, due.look_at
        stream.announce(due.announcements)

    def _wind_up(self) -> None:
        if self._timer is None and self._open:
            self._timer = asyncio.get_running_loop().call_later(self._tick_every, self._tick)

    def _tick(self) -> None:
        """Looks at the sessions that are about to end, and sends the heartbeats that are due."""
        self._timer = None
        now, steady = self._clock(), time.monotonic()
        for stream in self._open:
            if now >= stream.look_at:
                self._look(stream)
            if steady >= stream.beat_at:
                stream.beat_at = steady + self._heartbeat
                stream.beat()
        self._wind_up()


def _ended(stream: EventStream, over: "asyncio.Future[NoSession]") -> None:
    stream.over(over.result())
