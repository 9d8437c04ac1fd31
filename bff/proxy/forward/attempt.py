"""One try at a backend, between an exchange and a connection.

Rule 1: once cancelled, an attempt says nothing more to its exchange, whatever its connection still says.
"""

from collections.abc import Callable
from typing import Protocol

from bff.proxy.upstream.interfaces import Fault, Header, UpstreamCall


class AttemptOwner(Protocol):
    """What an attempt tells its exchange."""

    def on_head(self, status: int, headers: list[Header]) -> bool:
        """Takes the backend's head; True if the answer is to be held back for now."""

    def answer(self, status: int, headers: list[Header]) -> None:
        """Begins the client's answer, with a head that was held back."""

    def on_data(self, chunk: bytes) -> None:
        """Takes a piece of the answer."""

    def on_end(self) -> None:
        """The answer is complete."""

    def on_fault(self, fault: Fault) -> None:
        """The attempt failed."""

    def on_flow(self, *, paused: bool) -> None:
        """The backend takes no more of the request's body for now, or takes it again."""


class Attempt:
    """One try at a backend: the sink of its answer, and the way to its connection.

    A 401 that may be healed is held back; the backend is told to pause, and what it had said already
    waits here: one read's worth.
    """

    __slots__ = ("_exchange", "_held", "_over", "body_paused", "call")

    def __init__(self, exchange: AttemptOwner) -> None:
        self.call: UpstreamCall | None = None
        self.body_paused = False
        self._exchange: AttemptOwner | None = exchange
        self._held: list[Callable[[], None]] | None = None
        self._over = False

    # Towards the backend

    def write(self, chunk: bytes) -> None:
        """Sends a piece of the request's body."""
        if self.call is not None and not self._over:
            self.call.write(chunk)

    def finish(self) -> None:
        """The request's body is complete."""
        if self.call is not None and not self._over:
            self.call.finish()

    def pause_answer(self) -> None:
        """Stops reading from the backend."""
        if self.call is not None and not self._over:
            self.call.pause_answer()

    def resume_answer(self) -> None:
        """Goes on reading, unless the answer is held back."""
        if self.call is not None and not self._over and self._held is None:
            self.call.resume_answer()

    def cancel(self) -> None:
        """Drops the call; its sink hears no more."""
        self._exchange = None
        if self.call is not None and not self._over:
            self._over = True
            self.call.cancel()

    def release(self) -> None:
        """Lets a held answer go to the client after all."""
        held, self._held = self._held or [], None
        for step in held:
            step()
        self.resume_answer()
        if self._exchange is not None and not self.body_paused:
            self._exchange.on_flow(paused=False)

    # From the backend

    def informational(self, status: int, headers: list[Header]) -> None:
        """ASGI has no way to pass a 1xx on."""

    def head(self, status: int, reason: bytes, headers: list[Header]) -> None:  # noqa: ARG002 - the sink's form
        """Offers the head to the exchange, which may hold the answer back."""
        exchange = self._exchange
        if exchange is not None and exchange.on_head(status, headers):
            self._held = [lambda: exchange.answer(status, headers)]
            self.pause_answer()

    def data(self, chunk: bytes) -> None:
        """Passes a piece of the answer on, or keeps it."""
        exchange = self._exchange
        if exchange is None:
            return
        if self._held is None:
            exchange.on_data(chunk)
        else:
            self._held.append(lambda: exchange.on_data(chunk))

    def end(self) -> None:
        """The answer is complete."""
        self._over = True
        if (exchange := self._exchange) is not None:
            self._pass_on(exchange.on_end)

    def error(self, fault: Fault) -> None:
        """The call failed."""
        self._over = True
        if (exchange := self._exchange) is not None:
            self._pass_on(lambda: exchange.on_fault(fault))

    def pause_body(self) -> None:
        """The connection is full."""
        self.body_paused = True
        if self._exchange is not None:
            self._exchange.on_flow(paused=True)

    def resume_body(self) -> None:
        """The connection takes more."""
        self.body_paused = False
        if self._exchange is not None and self._held is None:
            self._exchange.on_flow(paused=False)

    def _pass_on(self, step: Callable[[], None]) -> None:
        if self._held is None:
            step()
        else:
            self._held.append(step)
