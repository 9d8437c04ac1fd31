"""The coordinator of rotations: one caller rotates a session's tokens, the others wait for it.

Rule 1: a rotation is nobody's child: no request that waits for it can cancel it; shutdown waits for it.
Rule 2: one at a time in a process: a task per session, which everyone joins. Across processes a lock lets one
at a time ask the provider; who does not get it waits for the session to change, and reads it again.
Rule 3: places at the provider are taken before the lock: a session that queues keeps nobody else from it.
Rule 4: an `ahead` rotation is asked for by a call that does not wait, so that idle sessions rotate nothing.
"""

import asyncio
import os
import platform
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import assert_never

from bff.errors import Problem, StoreUnavailableError
from bff.observe.logs import get_logger, named
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.oidc.concurrency_limit import Ticket
from bff.refresh.change_waiter import ChangeWaiter, Feed
from bff.refresh.circuit_breaker import CircuitBreaker, SessionBackoff
from bff.refresh.outcome import Deferred, Outcome, Over, Rotated, UserNeeded
from bff.refresh.refusals import Refusals
from bff.refresh.rotation import Rotation
from bff.refresh.rotation_context import RotationContext
from bff.session.invalidation_feed import steady_now
from bff.session.model import EndReason, Session
from bff.session.rotation_policy import Cause
from bff.session.sessions import Found, Sessions
from bff.settings.model import RefreshSettings
from bff.tasks import Tasks

_log = get_logger("bff.refresh")


class Flight:
    """A rotation under way in this process."""

    def __init__(self, found: Found, cause: Cause) -> None:
        self.found = found
        self.cause = cause
        self.waiters = 0
        self.place = Ticket(urgent=cause != "ahead")
        self.task: asyncio.Task[Outcome]


def circuit_breaker_of(
    clock: Callable[[], float], metrics: Metrics, provider: str | None = None
) -> CircuitBreaker:
    """Makes the circuit breaker before one provider, whose changes are logged and shown."""

    def changed(is_open: bool) -> None:
        metrics.rotations.circuit_breaker(is_open=is_open)
        whose = named(None, provider)
        if is_open:
            _log.warning("provider_left_alone", **whose)
        else:
            _log.info("provider_asked_again", **whose)

    return CircuitBreaker(clock, changed)


class RefreshCoordinator:
    """Rotates the tokens of sessions. `clock` gives seconds since the epoch.

    Without a `feed` waiters look often; without a `circuit_breaker` it has its own.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        client: OidcClient,
        tasks: Tasks,
        settings: RefreshSettings,
        metrics: Metrics,
        clock: Callable[[], float],
        feed: Feed | None = None,
        circuit_breaker: CircuitBreaker | None = None,
    ) -> None:
        self._change_waiter = ChangeWaiter(feed)
        self._sessions = sessions
        self._slots = client.tickets
        self._tasks = tasks
        self._timeout = settings.timeout
        self._metrics = metrics
        circuit_breaker = circuit_breaker or circuit_breaker_of(clock, metrics)
        me = f"{platform.node() or 'unnamed'}/{os.getpid()}/{secrets.token_hex(3)}".replace(" ", "-")
        refusals = Refusals(clock, lambda: client.granted)
        self._context = RotationContext(
            sessions, client, settings, metrics, clock, circuit_breaker, SessionBackoff(clock), refusals, me
        )
        self._flights: dict[str, Flight] = {}

    async def rotate(self, found: Found, cause: Cause) -> Outcome:
        """Rotates, or waits for the rotation that is under way; gives up waiting after `refresh.timeout`.

        Cancelling the caller leaves the rotation alone. If another process rotated first, its tokens are
        the outcome and the provider is not asked.
        """
        deadline = steady_now() + self._timeout
        while True:
            flight = self._flights.get(found.session.key) or self._start(found, cause)
            flight.waiters += 1
            self._slots.hurry(flight.place)
            with self._metrics.refresh_waiters.track_inprogress():
                done, _ = await asyncio.wait([flight.task], timeout=max(0.0, deadline - steady_now()))
            if not done or flight.task.cancelled():
                return Deferred(Problem.PROVIDER_UNAVAILABLE, why="queued")
            if flight.found.session.version >= found.session.version:
                return flight.task.result()
            # It was for older tokens than the caller has had, and says nothing about these.

    def ahead(self, found: Found) -> None:
        """Rotates in the background, unless that is under way, or the provider is to be left alone."""
        session = found.session
        if session.key not in self._flights and not self._context.rest(session):
            self._start(found, "ahead")

    def _start(self, found: Found, cause: Cause) -> Flight:
        session = found.session
        flight = self._flights[session.key] = Flight(found, cause)
        flight.task = self._tasks.spawn(self._fly(flight), name=f"refresh {session.id}")
        flight.task.add_done_callback(lambda _: self._flights.pop(session.key, None))
        return flight

    async def _fly(self, flight: Flight) -> Outcome:
        started = steady_now()
        try:
            outcome = await self._rotate_once(flight)
        except StoreUnavailableError:
            outcome = Deferred(Problem.STORE_UNAVAILABLE, why="store_unavailable")
        self._metrics.rotations.finished(flight.waiters)
        self._report(flight.found.session, outcome, flight.cause, steady_now() - started)
        return outcome

    async def _rotate_once(self, flight: Flight) -> Outcome:
        found = flight.found
        lock = self._sessions.lock(found.session)
        since = give_up = None
        with self._change_waiter.about(found.session.key) as ear:
            while True:
                ear.listen()
                standing = await self._context.standing(found)
                if not isinstance(standing, Found):
                    if since is not None:
                        self._metrics.rotations.locked(steady_now() - since)
                    return standing
                async with AsyncExitStack() as held:
                    slot = await held.enter_async_context(self._slots.taken(flight.place))
                    since = since or steady_now()
                    give_up = give_up or since + self._timeout
                    if await lock.take():
                        held.push_async_callback(lock.release)
                        prolonging = self._tasks.spawn(lock.prolong(), name=f"lock {found.session.id}")
                        held.callback(prolonging.cancel)
                        self._metrics.rotations.locked(steady_now() - since)
                        rotation = Rotation(self._context, found, lock, ear, slot, awaited=flight.waiters > 0)
                        outcome = await rotation.run()
                        if outcome is not None:
                            return outcome
                if steady_now() >= give_up:
                    return Deferred(Problem.PROVIDER_UNAVAILABLE, why="busy")
                await ear.wait()

    def _report(self, session: Session, outcome: Outcome, cause: Cause, seconds: float) -> None:
        match outcome:
            case Rotated(here=False) | Over(here=False):  # somebody else rotated, or ended it
                self._metrics.refresh_finished("followed", cause, seconds)
            case Rotated(found):
                self._sessions.audit("tokens_refreshed", session, reason=cause)
                self._metrics.refresh_finished("rotated", cause, seconds)
                _log.debug("rotated", session=session.id, version=found.session.version)
            case Over(_, reason):
                self._sessions.audit("refresh_failed", session, reason=reason)
                self._metrics.refresh_finished("ended", cause, seconds)
            case UserNeeded(here):
                if here:
                    reason = EndReason.SIGN_IN_REQUIRED
                    self._sessions.audit("refresh_failed", session, reason=reason)
                self._metrics.refresh_finished("deferred", cause, seconds)
            case Deferred(_, _, why):
                if why != "resting":  # nothing was tried: the failure that came before has its own event
                    self._sessions.audit("refresh_failed", session, reason=why)
                self._metrics.refresh_finished("deferred", cause, seconds)
            case other:
                assert_never(other)
