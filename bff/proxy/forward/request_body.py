"""A call's request body: the part that has come, the replay buffer, and the time that a client may take.

Rule 1: a body is gathered up to the replay buffer before a connection is taken for it, so that a slow client
holds none with a small body.
Rule 2: a body is kept until it outgrows the buffer, and the call can be repeated
with it until then. A buffer that has overflowed holds no memory, and never becomes replayable again.
Rule 3: a body that comes too slowly is late, once.
"""

import asyncio
from collections.abc import Callable, Sequence

from bff.policy.body_pace import BodyPace
from bff.proxy.forward.client_side import ClientSide
from bff.settings.model import RouteSettings


class RequestBody:
    """One body that is still to come, or is coming.

    Attributes:
        complete: all of it has come.
    """

    def __init__(self, settings: RouteSettings, client: ClientSide, late: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer, self._longest = settings.replay_buffer, settings.max_body
        self._client = client
        self._late = late
        self._kept: list[bytes] | None = []  # all that has come, in order; None once it has overflowed
        self._received = 0
        self._sent = False  # at least once, as far as it had come
        self._timer: asyncio.TimerHandle | None = None
        self._pace = BodyPace(settings, self._loop.time())
        self.complete = False
        client.pause_request()

    def add(self, chunk: bytes) -> bool:
        """Takes a piece; returns False where the body is longer than the route takes."""
        self._received += len(chunk)
        if self._received > self._longest:
            return False
        self._pace.took(len(chunk), self._loop.time())
        if self._sent and self._received > self._buffer:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(chunk)
        return True

    def end(self) -> None:
        """Notes that all of the body has come."""
        self.complete = True
        self.stop()

    @property
    def gathered(self) -> bool:
        """True when a connection may be taken for it."""
        return self.complete or self._received >= self._buffer

    @property
    def replayable(self) -> bool:
        """True while every byte that has come is still here; the rest may follow as it comes."""
        return self._kept is not None

    @property
    def at_hand(self) -> bool:
        """True when all of it is here, to be sent as often as it takes."""
        return self.complete and self.replayable and self._received <= self._buffer

    def take(self) -> bytes:
        """Returns the body as far as it has come, for a request that is sent."""
        come = b"".join(self._kept or ())
        if not self._sent:
            self._sent = True
            if not self._buffer:
                self._kept = None
        return come

    def restart(self, unsent: Sequence[bytes]) -> None:
        """Begins anew with these pieces, of which nothing was sent after all."""
        self._sent, self._kept = False, list(unsent)

    def want(self) -> None:
        """Lets the client go on with the body."""
        if self.complete:
            return
        self._pace.go_on(self._loop.time())
        if self._timer is None:
            self._timer = self._loop.call_at(self._pace.due, self._look)
        self._client.resume_request()

    def hold(self) -> None:
        """Makes the client wait with the body."""
        if not self.complete:
            self._pace.stop(self._loop.time())
            self._client.pause_request()

    def stop(self) -> None:
        """Waits for no more of the body."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        due, now = self._pace.due, self._loop.time()
        if due > now:
            if due < float("inf"):  # else the next `want` looks again
                self._timer = self._loop.call_at(due, self._look)
        else:
            self._late()


class _NoBody(RequestBody):
    """The body of a call that has none."""

    def __init__(self) -> None:
        self._kept, self._timer = [], None
        self._buffer = self._received = 0
        self._sent = self.complete = True


NO_BODY: RequestBody = _NoBody()
"""The body of every call that has none."""
