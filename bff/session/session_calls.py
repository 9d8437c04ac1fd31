"""The calls of sessions that are under way: each ends with its session.

Rule 1: a call that lasts a second is watched from then on, and a stream from its head. Until then it costs an
entry in a dictionary; a call on the fast path costs nothing, for it falls back when it lasts that long.
Rule 2: one sweep for all calls of the process, not a timer for each.
Rule 3: a call whose answer has come whole from the backend is over, also while its last bytes wait for the
client: these end in peace.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from bff.session.expiry_watch import ExpiryWatch, Watched
from bff.session.sessions import Found, NoSession

YOUNG = 1.0
"""Seconds after which a call is watched."""

_SWEEP_EVERY = 0.5


class SessionCall(Protocol):
    """A call that belongs to a session; `started` is by the clock of `SessionCalls`."""

    started: float

    def session_over(self, why: NoSession) -> None:
        """Ends the call, because its session has ended."""


class _Watch(NamedTuple):
    watched: Watched
    told: Callable[[asyncio.Future[NoSession]], None]


class SessionCalls:
    """The calls under way that belong to sessions. Without a `watch` they outlive them.

    `clock` gives seconds, monotonic.
    """

    def __init__(
        self, watch: ExpiryWatch | None = None, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._watch = watch
        self._clock = clock
        self._young: dict[SessionCall, Found] = {}
        self._watched: dict[SessionCall, _Watch] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, call: SessionCall, found: Found) -> None:
        """Takes in a call of this session. Calling it again is harmless."""
        if self._watch is None or call in self._watched:
            return
        self._young[call] = found
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_EVERY, self._sweep)

    def lasts(self, call: SessionCall) -> None:
        """Watches a call from now on: its answer is a stream."""
        found = self._young.pop(call, None)
        if found is not None:
            self._follow(call, found)

    def end(self, call: SessionCall) -> None:
        """Forgets a call that is over."""
        if self._young.pop(call, None) is None and (watch := self._watched.pop(call, None)) is not None:
            watch.watched.over.remove_done_callback(watch.told)
            assert self._watch is not None
            self._watch.leave(watch.watched)

    def _sweep(self) -> None:
        """Watches the sessions of the calls that have lasted long enough."""
        self._timer = None
        assert self._watch is not None
        before = self._clock() - YOUNG
        lasting = [(call, found) for call, found in self._young.items() if call.started <= before]
        for call, found in lasting:
            del self._young[call]
            self._follow(call, found)
        if self._young:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_EVERY, self._sweep)

    def _follow(self, call: SessionCall, found: Found) -> None:
        assert self._watch is not None
        watched, told = self._watch.join(found), partial(_tell, call)
        self._watched[call] = _Watch(watched, told)
        watched.over.add_done_callback(told)


def _tell(call: SessionCall, over: asyncio.Future[NoSession]) -> None:
    call.session_over(over.result())
