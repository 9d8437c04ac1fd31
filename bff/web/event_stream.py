"""One stream of `GET /bff/events`: the bytes that it sends, and its end.

Rule 1: a stream waits in one task, for its client to leave; each piece is sent by a short task.
So an idle stream costs no more memory than it must.
Rule 2: while the client reads too slowly nothing more is sent but news, of which a session has few; the
server ends a client that reads nothing at all.
"""

import contextlib
import json
import random
from typing import assert_never

from starlette.types import Receive, Send

from bff.session.expiry_watch import Watched
from bff.session.page_events import Announcement, Ending, Extended, Refreshed, Told
from bff.session.sessions import NoSession
from bff.tasks import Tasks
from bff.web.responses import NO_STORE

HEADERS = [
    *((name.encode(), value.encode()) for name, value in NO_STORE.items()),
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would keep the events back
]

_RETRY = b"retry: 1000\n\n"
_BEAT = b":\n\n"
_BACK_WITHIN = 3000  # milliseconds over which the readers of a process that stops come back


class EventStream:
    """A page's stream, from its head to its end.

    Attributes:
        watched: its session.
        told: the state that the page knows.
        look_at: when its session is to be looked at again, in seconds since the epoch.
        beat_at: when the next heartbeat is due, by a steady clock.
    """

    __slots__ = (
        "_closing",
        "_pending",
        "_send",
        "_tasks",
        "_writing",
        "beat_at",
        "look_at",
        "told",
        "watched",
    )

    def __init__(self, send: Send, tasks: Tasks, watched: Watched, version: int) -> None:
        self._send = send
        self._tasks = tasks
        self._pending = b""
        self._writing = False
        self._closing = False
        self.watched = watched
        self.told = Told(version)
        self.look_at = 0.0
        self.beat_at = 0.0

    async def begin(self) -> None:
        """Sends the head."""
        await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        self._put(_RETRY)

    async def left(self, receive: Receive) -> None:
        """Returns when the client has left, or the stream has ended."""
        while (await receive())["type"] != "http.disconnect":
            pass

    def announce(self, announcements: tuple[Announcement, ...]) -> None:
        """Sends news of the session."""
        self._put(b"".join(map(rendered, announcements)))

    def over(self, why: NoSession) -> None:
        """The session has ended: says so, and ends."""
        self._put(_event("session-ended", {"code": why.problem.code, "reason": why.reason}), last=True)

    def drain(self) -> None:
        """The server stops, or the frontend is gone: ends, and says when to come back, each time another."""
        later = 1000 + random.randrange(_BACK_WITHIN)  # noqa: S311 - spreads load, no secret
        self._put(b"retry: %d\n\n" % later, last=True)

    def beat(self) -> None:
        """Sends a line that says nothing, so that proxies and the client see a living connection."""
        if not self._writing:
            self._put(_BEAT)

    def _put(self, piece: bytes, *, last: bool = False) -> None:
        if self._closing or not (piece or last):
            return
        self._pending += piece
        self._closing = last
        if not self._writing:
            self._writing = True
            self._tasks.spawn(self._write(), name="event")

    async def _write(self) -> None:
        with contextlib.suppress(OSError):  # the client has left: `left` returns
            while self._pending:
                piece, self._pending = self._pending, b""
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            self._writing = False
            if self._closing:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def rendered(announcement: Announcement) -> bytes:
    """An announcement as a server-sent event."""
    match announcement:
        case Ending(seconds, reason):
            return _event("session-ending", {"seconds": seconds, "reason": reason})
        case Extended(seconds):
            return _event("session-extended", {"seconds": seconds})
        case Refreshed(rotations):
            return _event("refreshed", {"rotations": rotations})
        case other:
            assert_never(other)


def _event(name: str, data: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
