"""One rotation, by the process that holds the session's lock.

Rule 1: only this file spends a refresh token.
Rule 2: before the token is sent the record says so (`refreshing`); the save that follows clears the marker.
One that is found while nobody holds the lock means that a process died in between, or was cut off: it gets a
moment to save what it may have, then the token at hand is tried; if the provider refuses it the session is
over, with the reason `refresh_lost`.
Rule 3: right before the first byte leaves, the lock is looked at once more (`Sending.may_send`).
Rule 4: an answer that got lost is asked for once more, within the grace, after the session was read again.
Every sending of a token that may have been sent before is counted and audited, and so is one that left late.
Rule 5: a session that vanished meanwhile is not made again; the tokens that came for it are revoked.
Rule 6: only `invalid_grant`, or a refreshed identity that is not the session's, ends a session here; and
never one that somebody has saved newer tokens for.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar, assert_never

from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import audit, get_logger
from bff.observe.metrics import Metrics
from bff.observe.rotations import Incident
from bff.oidc.client import GrantRefusedError, InvalidGrant, OidcClient
from bff.oidc.id_token import Claims, IdTokenRejectedError
from bff.oidc.tokens import TokenAnswer
from bff.oidc.wire import AnswerLostError, CallWithdrawnError, RefusedError, Sending
from bff.refresh.news import Ear
from bff.refresh.outcome import Deferred, Outcome, Over, Rotated, Why
from bff.refresh.pauses import Circuit, Permit, SessionPauses
from bff.session.changes import steady_now
from bff.session.lock import SessionLock
from bff.session.model import EndReason, Refreshing, Session
from bff.session.sessions import Found, NoSession, Sessions
from bff.session.store import Write
from bff.settings.model import RefreshSettings
from bff.tasks import to_be_cancelled

SETTLE = 2.0
"""Seconds that whoever left a marker gets to save what it may have: it may only have been cut off."""

_PATIENCE = 300.0
"""Seconds for which new tokens are offered to a store that is down: nobody else has them."""

_TRY_AGAIN = 0.25
_REPEAT_AFTER = 0.2, 0.4  # seconds: between a lost answer and the second try
_KEYS_PATIENCE = 3.0  # seconds: new tokens must not wait in memory for somebody's key set
_MARKED_LOST = 1.0  # seconds for which a lost answer keeps other processes from trying as well
_ANOTHER_IDENTITY = ("iss", "sub")

T = TypeVar("T")
_log = get_logger("bff.refresh")


class Parts(NamedTuple):
    """What all rotations of a process share. `clock` gives seconds since the epoch."""

    sessions: Sessions
    client: OidcClient
    settings: RefreshSettings
    metrics: Metrics
    clock: Callable[[], float]
    circuit: Circuit
    pauses: SessionPauses
    me: str  # this process, and no other one before or beside it

    def rest(self, session: Session) -> float:
        """Seconds until it is worth asking the provider for this session; 0 for now."""
        marker, marked = session.refreshing, 0.0
        if marker is not None and marker.lost:
            since = self.clock() - marker.at
            marked = _MARKED_LOST - since if 0 <= since < _MARKED_LOST else 0.0
        return max(self.circuit.left(), self.pauses.left(session.key), marked)

    async def standing(self, found: Found) -> Found | Outcome:
        """The session as it stands if its tokens are to be rotated here; else what has become of them."""
        current = await self.sessions.open(found.handle)
        if isinstance(current, NoSession):
            return Over(current.problem, current.reason)
        session = current.session
        if session.version > found.session.version or session.tokens.refresh_token is None:
            return Rotated(current)  # or there is nothing to rotate with, and it stays as it is
        if wait := self.rest(session):
            return Deferred(Problem.PROVIDER_UNAVAILABLE, wait, "resting")
        return current


@dataclass(frozen=True, slots=True)
class _Try:
    """One sending of a token.

    Attributes:
        marker: ours.
        former: what stood in its place.
        again: whether the token may have been sent before.
    """

    found: Found
    token: str
    permit: Permit
    marker: Refreshing
    former: Refreshing | None
    again: bool

    @property
    def left_behind(self) -> Refreshing | None:
        """What the record is to say if this try was not sent, or was refused for now."""
        if not self.again:
            return None
        return replace(self.marker if self.former is None else self.former, lost=True)


class Rotation:
    """The rotation of one session; `run` it while the lock is held and prolonged."""

    def __init__(self, parts: Parts, found: Found, lock: SessionLock, ear: Ear) -> None:
        self._parts = parts
        self._sessions = parts.sessions
        self._found = found
        self._lock = lock
        self._ear = ear

    async def run(self) -> Outcome | None:
        """What became of it; None if the lock was lost before anything was sent: to be begun anew."""
        current = await self._parts.standing(self._found)  # another process may have rotated before us
        if isinstance(current, Found) and self._left(current.session.refreshing):
            current = await self._after_a_moment()
        if not isinstance(current, Found):
            return current
        session = current.session
        permit = self._parts.circuit.permit()
        if permit is None:
            return Deferred(Problem.PROVIDER_UNAVAILABLE, self._parts.circuit.left(), "resting")
        with permit:
            marker = Refreshing(round(self._parts.clock(), 3), self._parts.me)
            former = session.refreshing
            if await self._sessions.mark_refreshing(session, marker, expected=former) is not Write.REPLACED:
                return None
            assert session.tokens.refresh_token is not None
            first = _Try(
                current, session.tokens.refresh_token, permit, marker, former, again=former is not None
            )
            return await self._spend(first)

    def _left(self, marker: Refreshing | None) -> bool:
        """Whether a marker that is found under our own lock was left by somebody who died or was cut off.

        One of our own is nothing to wait for: this process is at nothing else.
        """
        return marker is not None and not marker.lost and marker.by != self._parts.me

    async def _after_a_moment(self) -> Found | Outcome:
        deadline = steady_now() + SETTLE
        while (left := deadline - steady_now()) > 0:
            self._ear.listen()
            current = await self._parts.standing(self._found)
            if not isinstance(current, Found) or not self._left(current.session.refreshing):
                return current
            await self._ear.wait(left)
        return await self._parts.standing(self._found)

    async def _spend(self, this: _Try) -> Outcome | None:
        asked_at = steady_now()
        patience = self._parts.settings.answer_timeout
        sending = Sending(patience, may_send=lambda: self._lock.held, sent=lambda: self._was_sent(this))
        try:
            answer = await self._parts.client.refresh(this.token, sending=sending)
        except CallWithdrawnError:
            await self._leave(this, this.left_behind)
            return None
        except AnswerLostError as failure:
            this.permit.lost()
            if await self._may_repeat(this, asked_at):
                return await self._spend(replace(this, again=True, former=None))
            self._parts.pauses.begin(this.found.session.key, None)
            return await self._put_off(this, failure, "answer_lost", replace(this.marker, lost=True))
        except ProviderUnavailableError as failure:
            return await self._put_off(this, failure, self._unspent(this, failure), this.left_behind)
        this.permit.answered()
        self._parts.pauses.forget(this.found.session.key)
        if isinstance(answer, InvalidGrant):
            return await self._refused(this)
        try:
            return await self._keep(this.found, answer)
        except asyncio.CancelledError:
            self._lost(this.found.session, "stopped")
            raise

    def _unspent(self, this: _Try, failure: ProviderUnavailableError) -> Why:
        if isinstance(failure, GrantRefusedError):
            this.permit.answered()
            self._parts.pauses.begin(this.found.session.key, failure.retry_after)
            return "grant_refused"
        this.permit.failed(failure.retry_after)
        return "provider_refused" if isinstance(failure, RefusedError) else "provider_unreachable"

    def _was_sent(self, this: _Try) -> None:
        session = this.found.session
        if this.again:
            former = this.former
            kind: Incident = (
                "repeated" if former is None else "resumed_lost" if former.lost else "resumed_left"
            )
            self._parts.metrics.rotations.incident(kind)
            audit("refresh_token_sent_again", session=session.id, sub=session.sub, reason=kind)
        if not self._lock.held:
            self._parts.metrics.rotations.incident("sent_late")
            audit("refresh_token_sent_again", session=session.id, sub=session.sub, reason="sent_late")

    async def _may_repeat(self, this: _Try, asked_at: float) -> bool:
        """Whether the token may be sent once more now: the answer was lost, and nothing else has happened."""
        if this.again or this.permit.probe:
            return False
        await asyncio.sleep(random.uniform(*_REPEAT_AFTER))  # noqa: S311 - jitter, no secret
        if steady_now() - asked_at >= self._parts.settings.grace or not this.permit.valid:
            return False
        try:
            current = await self._sessions.open(this.found.handle)
        except StoreUnavailableError:
            return False
        if isinstance(current, NoSession):
            return False
        session = current.session
        unchanged = (session.version, session.refreshing) == (this.found.session.version, this.marker)
        return unchanged and self._lock.held

    async def _put_off(
        self, this: _Try, failure: ProviderUnavailableError, why: Why, marker: Refreshing | None
    ) -> Outcome:
        session = this.found.session
        _log.warning("provider_unavailable", session=session.id, cause=str(failure))
        if await self._leave(this, marker) in (Write.GONE, Write.STALE):
            return await self._as_it_stands(this.found)
        wait = failure.retry_after or self._parts.rest(session) or None
        return Deferred(Problem.PROVIDER_UNAVAILABLE, wait, why)

    async def _leave(self, this: _Try, marker: Refreshing | None) -> Write | None:
        """Puts this in the place of our marker; None if the store did not answer: then ours stays."""
        try:
            return await self._sessions.mark_refreshing(this.found.session, marker, expected=this.marker)
        except StoreUnavailableError:
            _log.warning("marker_left", session=this.found.session.id)
            return None

    async def _refused(self, this: _Try) -> Outcome:
        session, reason = this.found.session, EndReason.INVALID_GRANT
        if this.again:
            reason = EndReason.REFRESH_LOST
            self._parts.metrics.rotations.incident("reuse_suspected")
        return await self._end(this.found, session, reason)

    async def _keep(self, found: Found, answer: TokenAnswer) -> Outcome:
        session = found.session
        try:
            claims = await self._refreshed_claims(session, answer)
        except IdTokenRejectedError as rejected:
            _log.warning("refreshed_identity_refused", session=session.id, reason=rejected.reason)
            await self._revoke(session, answer, "identity_changed")
            return await self._end(found, session, EndReason.IDENTITY_CHANGED)
        if claims is None:
            answer = replace(answer, id_token=None)
        prepared = self._sessions.prepare(found, answer.tokens(session.tokens), claims=claims)
        written = await _insist(lambda: self._sessions.save(prepared))
        match written:
            case Write.REPLACED:
                return Rotated(replace(found, session=prepared.session), here=True)
            case Write.STALE:
                # Somebody else saved newer tokens. Ours may be of the same family: revoking them could
                # take the newer ones along, so they are left to run out.
                self._lost(session, "saved_by_another")
                return await self._as_it_stands(found)
            case Write.GONE:
                await self._revoke(session, answer, "came_too_late")
                return await self._as_it_stands(found)
            case None:
                self._lost(session, "store_unavailable")
                return Deferred(Problem.STORE_UNAVAILABLE, why="tokens_lost")
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
            async with asyncio.timeout(_KEYS_PATIENCE):
                return await self._parts.client.validate_refreshed_id_token(
                    answer.id_token, sub=session.sub, access_token=answer.access_token
                )
        except (ProviderUnavailableError, TimeoutError) as failure:
            _log.warning("refreshed_id_token_unchecked", session=session.id, cause=str(failure))
        except IdTokenRejectedError as rejected:
            if rejected.reason in _ANOTHER_IDENTITY:
                raise
            _log.warning("refreshed_id_token_ignored", session=session.id, reason=rejected.reason)
        return None

    def _lost(self, session: Session, reason: str) -> None:
        """New tokens came, and nobody keeps them."""
        self._parts.metrics.rotations.incident("rotation_lost")
        audit("rotation_lost", session=session.id, sub=session.sub, reason=reason)

    async def _as_it_stands(self, found: Found) -> Outcome:
        current = await self._sessions.open(found.handle)
        if isinstance(current, NoSession):
            return Over(current.problem, current.reason)
        if current.session.version > found.session.version:
            return Rotated(current)
        return Deferred(Problem.PROVIDER_UNAVAILABLE, why="busy")

    async def _end(self, found: Found, session: Session, reason: EndReason) -> Outcome:
        ended = await _insist(lambda: self._sessions.end(session, reason, fenced=True))
        if ended is None:
            return Deferred(Problem.STORE_UNAVAILABLE, why="store_unavailable")
        if ended:
            return Over(Problem.SESSION_ENDED, reason, here=True)
        return await self._as_it_stands(found)  # ended by somebody else, who left a reason; or saved anew

    async def _revoke(self, session: Session, answer: TokenAnswer, reason: str) -> None:
        if answer.refresh_token is not None:
            revoked = await self._parts.client.revoke(answer.refresh_token, "refresh_token")
            audit(
                "tokens_revoked" if revoked else "revocation_failed",
                sub=session.sub,
                session=session.id,
                reason=reason,
            )


async def _insist(work: Callable[[], Awaitable[T]]) -> T | None:
    """Tries until the store has answered; None if it has not for too long."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + _PATIENCE
    while True:
        try:
            return await work()
        except StoreUnavailableError:
            if to_be_cancelled():
                raise asyncio.CancelledError from None
            if loop.time() >= give_up:
                return None
        await asyncio.sleep(_TRY_AGAIN)
