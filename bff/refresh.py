"""Token rotation: once per expired token, for everyone who waits, and never lost.

Rule 1: only this file spends a refresh token.
Rule 2: a rotation is nobody's child: no request that waits for it can cancel it; shutdown waits for it.
Rule 3: across processes a lock lets one at a time ask the provider; who waits for it reads the session again.
Rule 4: before the token is sent, the record says so (`refreshing`); the save that follows clears it. A
marker that is found without a rotation under way means that a process died in between: the token at hand
is tried once, and if the provider has seen it already the session is over, with the reason `refresh_lost`.
Rule 5: a session that vanished meanwhile is not made again; the tokens that came for it are revoked.
Rule 6: only `invalid_grant`, or a refreshed identity that is not the session's, ends a session here.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import audit, get_logger
from bff.observe.metrics import Metrics
from bff.oidc.client import GrantRefusedError, InvalidGrant, OidcClient
from bff.oidc.id_token import Claims, IdTokenRejectedError
from bff.oidc.tokens import TokenAnswer
from bff.oidc.wire import AnswerLostError
from bff.session.lock import SessionLock
from bff.session.model import EndReason, Refreshing, Session
from bff.session.plan import Cause
from bff.session.sessions import Found, NoSession, PreparedSave, Sessions
from bff.session.store import Write
from bff.settings.model import RefreshSettings
from bff.tasks import Tasks

_SAVE_PATIENCE = 300.0
"""Seconds for which new tokens are offered to a store that is down: nobody else has them."""
_SAVE_PAUSE = 0.25
_LOOK_AGAIN = 0.1  # seconds between two looks at a lock that another process has
_ANOTHER_IDENTITY = ("iss", "sub")
_BACK_OFF_FIRST, _BACK_OFF_LAST = 1.0, 30.0
_MAX_REFUSED = 10_000

_log = get_logger("bff.refresh")


@dataclass(frozen=True, slots=True)
class Rotated:
    """The session with fresh tokens, whoever fetched them."""

    found: Found


@dataclass(frozen=True, slots=True)
class Over:
    """The session is no more."""

    problem: Problem
    reason: EndReason | None


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: the provider or the store is out of reach. The session lives on."""

    problem: Problem
    retry_after: float | None = None


Outcome = Rotated | Over | Deferred


class BackOff:
    """When the provider may be asked again after it failed; doubling, with jitter."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def left(self) -> float:
        """Seconds to wait; 0 if it may be asked now."""
        return max(0.0, self._until - self._clock())

    def failed(self, retry_after: float | None) -> None:
        """Notes a failure, and the wait that the provider asked for."""
        pause = min(_BACK_OFF_LAST, _BACK_OFF_FIRST * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        self._until = self._clock() + max(pause, min(retry_after or 0.0, 300.0))

    def succeeded(self) -> None:
        """Forgets the failures."""
        self._failures, self._until = 0, 0.0


class Refresher:
    """Rotates the tokens of sessions. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        client: OidcClient,
        tasks: Tasks,
        settings: RefreshSettings,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._client = client
        self._tasks = tasks
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._back_off = BackOff(clock)
        self._refused: dict[str, BackOff] = {}  # by session: a refusal of one must not make all wait
        self._me = f"{os.getpid()}"
        self._flights: dict[str, asyncio.Task[Outcome]] = {}

    async def rotate(self, found: Found, cause: Cause) -> Outcome:
        """Rotates, or waits for the rotation that is under way; gives up waiting after `refresh.timeout`.

        Cancelling the caller leaves the rotation alone. If another process rotated first, its tokens are
        the outcome and the provider is not asked.
        """
        flight = self._flights.get(found.session.key)
        if flight is None:
            flight = self._tasks.spawn(self._fly(found, cause), name=f"refresh {found.session.id}")
            self._flights[found.session.key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(found.session.key, None))
        with self._metrics.refresh_waiters.track_inprogress():
            done, _ = await asyncio.wait([flight], timeout=self._settings.timeout)
        if not done:
            return Deferred(Problem.PROVIDER_UNAVAILABLE)
        return flight.result()

    async def _fly(self, found: Found, cause: Cause) -> Outcome:
        started = self._clock()
        try:
            outcome = await self._rotate_once(found)
        except StoreUnavailableError:
            outcome = Deferred(Problem.STORE_UNAVAILABLE)
        self._report(found.session, outcome, cause, self._clock() - started)
        return outcome

    async def _rotate_once(self, found: Found) -> Outcome:
        lock = self._sessions.lock(found.session)
        give_up = time.monotonic() + self._settings.timeout
        while True:
            settled = await self._settled(found)
            if not isinstance(settled, Found):
                return settled
            if await lock.take():
                break
            if time.monotonic() >= give_up:
                return Deferred(Problem.PROVIDER_UNAVAILABLE)
            await asyncio.sleep(_LOOK_AGAIN)
        prolonging = self._tasks.spawn(lock.prolong(), name=f"lock {found.session.id}")
        try:
            return await self._rotate_locked(found, lock)
        finally:
            prolonging.cancel()
            await lock.release()

    async def _settled(self, found: Found) -> Found | Outcome:
        """The session as it stands if its tokens are to be rotated here; else what has become of them."""
        current = await self._sessions.open(found.handle)
        if isinstance(current, NoSession):
            return Over(current.problem, current.reason)
        session = current.session
        if session.version > found.session.version or session.tokens.refresh_token is None:
            return Rotated(current)  # or there is nothing to rotate with, and it stays as it is
        refused = self._refused.get(session.key)
        if wait := max(self._back_off.left(), refused.left() if refused else 0.0):
            return Deferred(Problem.PROVIDER_UNAVAILABLE, wait)
        return current

    async def _rotate_locked(self, found: Found, lock: SessionLock) -> Outcome:
        current = await self._settled(found)  # another process may have rotated before we had the lock
        if not isinstance(current, Found):
            return current
        session = current.session
        assert session.tokens.refresh_token is not None
        marked = await self._sessions.mark_refreshing(session, Refreshing(self._clock(), self._me))
        if marked is not Write.REPLACED:
            return await self._as_it_stands(found)
        if not lock.held:  # this process was stopped for a while: somebody else may be at it
            return Deferred(Problem.PROVIDER_UNAVAILABLE)
        return await self._spend(current, session.tokens.refresh_token)

    async def _spend(self, found: Found, refresh_token: str) -> Outcome:
        session = found.session
        try:
            answer = await self._client.refresh(refresh_token)
        except ProviderUnavailableError as failure:
            if isinstance(failure, GrantRefusedError):
                self._back_off_for(session).failed(failure.retry_after)
            else:
                self._back_off.failed(failure.retry_after)
            _log.warning("provider_unavailable", session=session.id, cause=str(failure))
            if not isinstance(failure, AnswerLostError):  # the token was not spent: nothing to remember
                await self._sessions.mark_refreshing(session, session.refreshing)
            return Deferred(Problem.PROVIDER_UNAVAILABLE, failure.retry_after)
        self._back_off.succeeded()
        self._refused.pop(session.key, None)
        match answer:
            case InvalidGrant():
                lost = session.refreshing is not None
                return await self._end(found, EndReason.REFRESH_LOST if lost else EndReason.INVALID_GRANT)
            case TokenAnswer():
                return await self._keep(found, answer)
            case other:
                assert_never(other)

    def _back_off_for(self, session: Session) -> BackOff:
        back_off = self._refused.pop(session.key, None) or BackOff(self._clock)
        self._refused[session.key] = back_off
        if len(self._refused) > _MAX_REFUSED:
            del self._refused[next(iter(self._refused))]
        return back_off

    async def _keep(self, found: Found, answer: TokenAnswer) -> Outcome:
        session = found.session
        try:
            claims = await self._refreshed_claims(session, answer)
        except IdTokenRejectedError as rejected:
            _log.warning("refreshed_identity_refused", session=session.id, reason=rejected.reason)
            await self._revoke(session, answer)
            return await self._end(found, EndReason.IDENTITY_CHANGED)
        if claims is None:
            answer = replace(answer, id_token=None)
        prepared = self._sessions.prepare(found, answer.tokens(session.tokens), claims=claims)
        written = await self._save(prepared)
        match written:
            case Write.REPLACED:
                return Rotated(replace(found, session=prepared.session))
            case Write.STALE:
                # Somebody else saved newer tokens. Ours may be of the same family: revoking them could
                # take the newer ones along, so they are left to run out.
                _log.error("rotation_lost", session=session.id)
                return await self._as_it_stands(found)
            case Write.GONE:
                await self._revoke(session, answer)
                return await self._as_it_stands(found)
            case None:
                return Deferred(Problem.STORE_UNAVAILABLE)
            case other:
                assert_never(other)

    async def _refreshed_claims(self, session: Session, answer: TokenAnswer) -> Claims | None:
        """The claims of a refreshed ID token; None to keep the former ones.

        The tokens beside it are good and exist nowhere else: they are not given up for an ID token that
        cannot be checked just now. One that names somebody else is raised (OpenID Connect Core 12.2).
        """
        if answer.id_token is None:
            return None
        try:
            return await self._client.validate_refreshed_id_token(
                answer.id_token, sub=session.sub, access_token=answer.access_token
            )
        except ProviderUnavailableError as failure:
            _log.warning("refreshed_id_token_unchecked", session=session.id, cause=str(failure))
        except IdTokenRejectedError as rejected:
            if rejected.reason in _ANOTHER_IDENTITY:
                raise
            _log.warning("refreshed_id_token_ignored", session=session.id, reason=rejected.reason)
        return None

    async def _save(self, prepared: PreparedSave) -> Write | None:
        """Offers the save until its outcome is known: these tokens exist nowhere else."""
        give_up = self._clock() + _SAVE_PATIENCE
        while True:
            try:
                return await self._sessions.save(prepared)
            except StoreUnavailableError:
                if self._clock() >= give_up:
                    _log.error("rotated_tokens_lost", session=prepared.session.id)
                    return None
            await asyncio.sleep(_SAVE_PAUSE)

    async def _as_it_stands(self, found: Found) -> Outcome:
        current = await self._sessions.open(found.handle)
        if isinstance(current, NoSession):
            return Over(current.problem, current.reason)
        if current.session.version > found.session.version:
            return Rotated(current)
        return Deferred(Problem.PROVIDER_UNAVAILABLE)

    async def _end(self, found: Found, reason: EndReason) -> Outcome:
        if await self._sessions.end(found.session, reason):
            return Over(Problem.SESSION_ENDED, reason)
        return await self._as_it_stands(found)  # somebody else ended it first, and left a reason

    async def _revoke(self, session: Session, answer: TokenAnswer) -> None:
        if answer.refresh_token is not None:
            revoked = await self._client.revoke(answer.refresh_token, "refresh_token")
            audit(
                "tokens_revoked" if revoked else "revocation_failed",
                sub=session.sub,
                session=session.id,
                reason="came_too_late",
            )

    def _report(self, session: Session, outcome: Outcome, cause: Cause, seconds: float) -> None:
        match outcome:
            case Rotated(found):
                audit("tokens_refreshed", session=session.id, sub=session.sub, reason=cause)
                self._metrics.refresh_finished("rotated", cause, seconds)
                _log.debug("rotated", session=session.id, version=found.session.version)
            case Over(_, reason):
                audit("refresh_failed", session=session.id, sub=session.sub, reason=reason)
                self._metrics.refresh_finished("ended", cause, seconds)
            case Deferred(problem, _):
                audit("refresh_failed", session=session.id, sub=session.sub, reason=problem.code)
                self._metrics.refresh_finished("deferred", cause, seconds)
            case other:
                assert_never(other)
