"""The timer of a connection that carries fast calls: one for all of them, and each has its own second."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from bff.upstream.connection import UpstreamConnection


class Loop:
    """A loop whose clock the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def create_future(self) -> None:
        """Nothing is awaited here."""

    def call_at(self, due: float, ring: Callable[[], None]) -> object:
        self.timers.append((due, ring))
        return object()

    def ring(self) -> None:
        """Moves the clock to the one timer that there is, which rings."""
        ((self.now, ring),) = self.timers
        self.timers.clear()
        ring()


class Transport:
    """A transport that takes everything."""

    def get_extra_info(self, _: str) -> Any:
        return self

    family = -1

    def setsockopt(self, *_: Any) -> None:
        pass

    def write(self, _: bytes) -> None:
        pass


class Owner:
    """A pool that is told."""

    def free(self, _: Any) -> None:
        pass


class Sink:
    """A fast call whose answer is there with the first read."""

    has_body = False
    ended = fell_back = False

    def read(self, _: bytes) -> int:
        return 0

    def end(self) -> None:
        self.ended = True

    def fall_back(self) -> None:
        self.fell_back = True


@pytest.mark.requirement("S-01")
def test_a_call_falls_back_at_its_own_age() -> None:
    """A timer that was set for the call before is set anew for the present one."""
    loop, first, second = Loop(), Sink(), Sink()
    connection = UpstreamConnection(cast("asyncio.AbstractEventLoop", loop), cast("Any", Owner()))
    connection.connection_made(cast("asyncio.BaseTransport", Transport()))
    connection.carry(first, b"request")
    loop.now = 0.5
    connection.data_received(b"answer")
    assert first.ended
    loop.now = 0.9
    connection.carry(second, b"request")
    loop.ring()
    assert (1.0, False) == (loop.now, second.fell_back)
    loop.ring()
    assert (1.9, True) == (loop.now, second.fell_back)
    assert not first.fell_back
