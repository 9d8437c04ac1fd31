"""The watch on clients' own bearer tokens by which a stream or a WebSocket is open: it ends with its token.

Rule 1: a token is checked again as for a new call, `every` so many seconds, and at its end.
Rule 2: "not known" is not "over": while keys or revocations cannot be had, a token counts until its own end.
Rule 3: one check for all that is open by one token.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from bff.credentials.credential import Refused, TokenOnly
from bff.tasks import Tasks

Check = Callable[[str], Awaitable[str | None]]
"""Returns why a token is not good any more; None for a good one, and where that cannot be known."""


class WatchedToken:
    """A token that something open hangs on; `over` is done once it has ended, with the refusal."""

    __slots__ = ("ends", "holders", "over", "text", "timer")

    def __init__(self, text: str, ends: float) -> None:
        self.text = text
        self.ends = ends
        self.over: asyncio.Future[Refused] = asyncio.get_running_loop().create_future()
        self.holders = 0
        self.timer: asyncio.TimerHandle | None = None


class BearerWatch:
    """The watch of one route's tokens. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        check: Check,
        refusal: Callable[[str], Refused],
        *,
        every: float,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self._check = check
        self._refusal = refusal
        self._every = every
        self._tasks = tasks
        self._clock = clock
        self._watched: dict[str, WatchedToken] = {}

    def __len__(self) -> int:
        return len(self._watched)

    @contextmanager
    def watching(self, token: TokenOnly) -> Iterator[WatchedToken]:
        """Watches a token for as long as the block runs."""
        watched = self.join(token)
        try:
            yield watched
        finally:
            self.leave(watched)

    def join(self, token: TokenOnly) -> WatchedToken:
        """Watches a token until `leave`."""
        watched = self._watched.get(token.token)
        if watched is None or watched.over.done():
            watched = self._watched[token.token] = WatchedToken(token.token, token.ends)
            self._wind_up(watched)
        watched.holders += 1
        return watched

    def follow(self, token: TokenOnly, told: Callable[[asyncio.Future[Refused]], None]) -> Callable[[], None]:
        """Calls `told` when a token ends; returns the function that ends the watch before."""
        watched = self.join(token)
        watched.over.add_done_callback(told)

        def leave() -> None:
            watched.over.remove_done_callback(told)
            self.leave(watched)

        return leave

    def leave(self, watched: WatchedToken) -> None:
        """Ends the watch for one holder of this token."""
        watched.holders -= 1
        if watched.holders:
            return
        if watched.timer is not None:
            watched.timer.cancel()
        if self._watched.get(watched.text) is watched:
            del self._watched[watched.text]

    def _wind_up(self, watched: WatchedToken) -> None:
        wait = min(self._every, max(0.0, watched.ends - self._clock()))
        watched.timer = asyncio.get_running_loop().call_later(wait, self._due, watched)

    def _due(self, watched: WatchedToken) -> None:
        watched.timer = None
        if self._clock() >= watched.ends:
            watched.over.set_result(self._refusal("expired"))
        else:
            self._tasks.spawn(self._look(watched), name="watched token")

    async def _look(self, watched: WatchedToken) -> None:
        reason = await self._check(watched.text)
        if reason is not None:
            watched.over.set_result(self._refusal(reason))
        elif watched.holders:
            self._wind_up(watched)
