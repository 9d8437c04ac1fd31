"""One rotation, by the process that holds the session's lock.

Rule 1: only this file spends a refresh token.
Rule 2: before the token is sent the record says so (`refreshing`); the save that follows clears the marker.
One that is found while nobody holds the lock means that a process died in between, or was cut off: it gets a
moment to save what it may have, then the token at hand is tried; if the provider refuses it the session is
over, with the reason `refresh_lost`.
Rule 3: right before the first byte leaves, the lock is looked at once more (`Sending.may_send`).
Rule 4: an answer that got lost is asked for once more, within the grace, after the session was read again.
One that is late is not: the provider may be at it, and the connection is kept for it, longer than any request
waits (`refresh.answer_timeout`).
Every sending of a token that may have been sent before is counted and audited, and so is one that left late.
Rule 5: a session that vanished meanwhile is not made again; the tokens that came for it are revoked.
Rule 6: only `invalid_grant`, a refusal that repeats for this session alone, a refreshed identity that is
not the session's, or one that `provider.allow` does not let in any more, ends a session here; and never one
that somebody has saved newer tokens for.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar, assert_never

from bff.errors import Problem, ProviderUnavailableError, StoreUnavailableError
from bff.observe.logs import get_logger
from bff.observe.refresh_metrics import Incident
from bff.oidc.concurrency_limit import Slot
from bff.oidc.http import AnswerLateError, AnswerLostError, CallWithdrawnError, Sending
from bff.oidc.id_token import Claims, IdTokenRejectedError
from bff.oidc.token_errors import (
    GrantRefusedError,
    InvalidGrant,
    SignInRequired,
)
from bff.oidc.token_response import TokenAnswer
from bff.policy.claim_rules import is_refuted
from bff.refresh.change_waiter import Subscription
from bff.refresh.circuit_breaker import LATER
from bff.refresh.outcome import Deferred, Outcome, Over, Rotated, UserNeeded, Why
from bff.refresh.rotation_context import RotationContext, Try, why_put_off
from bff.session.invalidation_feed import steady_now
from bff.session.model import EndReason, Refreshing, Session
from bff.session.rotation_lock import SessionLock
from bff.session.sessions import Found, NoSession
from bff.session.store import Write
from bff.tasks import to_be_cancelled

SETTLE = 2.0
"""The seconds that a process gets to save its tokens behind a marker: it may only have been cut off."""

_PATIENCE = 300.0
"""Seconds for which new tokens are offered to a store that is down: nobody else has them."""

_TRY_AGAIN = 0.25
_REPEAT_AFTER = 0.2, 0.4  # seconds: between a lost answer and the second try
_KEYS_PATIENCE = 3.0  # seconds: new tokens must not wait in memory for somebody's key set
_PROBE_LATE = 5.0  # seconds until another one may ask a provider that was away
_ANOTHER_IDENTITY = ("iss", "sub")

T = TypeVar("T")
_log = get_logger("bff.refresh")


class Rotation:
    """The rotation of one session; `run` it while the lock is held and prolonged.

    `slot` is the one at the provider; `awaited`: somebody waits for the outcome.
    """

    def __init__(
        self,
        context: RotationContext,
        found: Found,
        lock: SessionLock,
        ear: Subscription,
        slot: Slot,
        *,
        awaited: bool,
    ) -> None:
        self._context = context
        self._sessions = context.sessions
        self._found = found
        self._lock = lock
        self._ear = ear
        self._slot = slot
        self._awaited = awaited

    async def run(self) -> Outcome | None:
        """Rotates, and returns the outcome; None if the lock was lost before anything was sent."""
        current = await self._context.standing(self._found)  # another process may have rotated before us
        if isinstance(current, Found) and self._left(current.session.refreshing):
            current = await self._after_a_moment()
        if not isinstance(current, Found):
            return current
        session = current.session
        permit = self._context.circuit_breaker.permit(session.key)
        if permit is None:
            return Deferred(Problem.PROVIDER_UNAVAILABLE, self._context.circuit_breaker.left(), "resting")
        with permit:
            marker = Refreshing(round(self._context.clock(), 3), self._context.me)
            former = session.refreshing
            if await self._sessions.mark_refreshing(session, marker, expected=former) is not Write.REPLACED:
                return None
            assert session.tokens.refresh_token is not None
            first = Try(
                current, session.tokens.refresh_token, permit, marker, former, again=former is not None
            )
            return await self._spend(first)

    def _left(self, marker: Refreshing | None) -> bool:
        """Returns True if a marker found under our own lock was left by somebody who died or was cut off.

        One of our own is nothing to wait for: this process is at nothing else.
        """
        return marker is not None and not marker.lost and marker.by != self._context.me

    async def _after_a_moment(self) -> Found | Outcome:
        deadline = steady_now() + SETTLE
        while (left := deadline - steady_now()) > 0:
            self._ear.listen()
            current = await self._context.standing(self._found)
            if not isinstance(current, Found) or not self._left(current.session.refreshing):
                return current
            await self._ear.wait(left)
        return await self._context.standing(self._found)

    async def _spend(self, this: Try) -> Outcome | None:
        asked_at = steady_now()
        patience = self._context.settings.answer_timeout
        sending = Sending(patience, may_send=lambda: self._lock.held, sent=lambda: self._was_sent(this))
        try:
            answer = await self._asked(this, sending)
        except CallWithdrawnError:
            await self._leave(this, this.left_behind)
            return None
        except ProviderUnavailableError as failure:
            return await self._failed(this, failure, asked_at)
        this.permit.answered()
        return await self._answered(this, answer)

    async def _answered(self, this: Try, answer: TokenAnswer | InvalidGrant | SignInRequired) -> Outcome:
        if isinstance(answer, SignInRequired):
            return await self._user_needed(this)
        self._settled(this)
        if isinstance(answer, InvalidGrant):
            return await self._grant_gone(this, EndReason.INVALID_GRANT)
        try:
            return await self._keep(this.found, answer)
        except asyncio.CancelledError:
            self._lost(this.found.session, "stopped")
            raise

    async def _failed(self, this: Try, failure: ProviderUnavailableError, asked_at: float) -> Outcome | None:
        why = why_put_off(failure)
        if isinstance(failure, AnswerLostError):
            this.permit.lost()
            if await self._may_repeat(this, failure, asked_at):
                return await self._spend(replace(this, again=True, former=None))
            self._context.pauses.begin(this.found.session.key, None)
            return await self._put_off(this, failure, why, replace(this.marker, lost=True))
        if isinstance(failure, GrantRefusedError):
            return await self._refused(this, failure)
        this.permit.failed(failure.retry_after)
        return await self._put_off(this, failure, why, this.left_behind)

    async def _asked(self, this: Try, sending: Sending) -> TokenAnswer | InvalidGrant | SignInRequired:
        """Asks the provider; where its answer is late others need not wait for this one's slot."""
        patience = _PROBE_LATE if this.permit.probe else self._context.settings.timeout
        late = asyncio.get_running_loop().call_later(patience, self._is_late, this)
        try:
            return await self._context.client.refresh(
                this.token, sending=sending, proof_key=this.found.session.tokens.proof_key
            )
        finally:
            late.cancel()

    def _is_late(self, this: Try) -> None:
        this.permit.late()
        self._slot.lend()
        _log.warning("answer_late", session=this.found.session.id)

    def _settled(self, this: Try) -> None:
        """Forgets the pauses: the provider has answered about this session's token."""
        self._context.pauses.forget(this.found.session.key)
        self._context.refusals.forget(this.found.session.key)

    async def _refused(self, this: Try, failure: GrantRefusedError) -> Outcome:
        """Handles the refusal of this one token: the session waits by itself, or is over if that repeats."""
        key = this.found.session.key
        weight = self._context.refusals.note(key, failure.kind, passing=failure.passing)
        if weight == "many":
            this.permit.failed(failure.retry_after)
        else:
            this.permit.answered()
        if weight == "repeated" and self._awaited:
            self._settled(this)
            return await self._grant_gone(this, EndReason.REFRESH_REFUSED)
        self._context.pauses.begin(key, failure.retry_after)
        return await self._put_off(this, failure, why_put_off(failure), this.left_behind)

    async def _user_needed(self, this: Try) -> Outcome:
        """The record may stay: a new sign-in in the same browser takes its place."""
        self._context.refusals.forget(this.found.session.key)
        self._context.pauses.begin(this.found.session.key, None, longest=LATER, why="user_needed")
        if await self._leave(this, this.left_behind) in (Write.GONE, Write.STALE):
            return await self._as_it_stands(this.found)
        return UserNeeded(here=True)

    def _was_sent(self, this: Try) -> None:
        session = this.found.session
        if this.again:
            former = this.former
            kind: Incident = (
                "repeated" if former is None else "resumed_lost" if former.lost else "resumed_left"
            )
            self._context.metrics.rotations.incident(kind)
            self._sessions.audit("refresh_token_sent_again", session, reason=kind)
        if not self._lock.held:
            self._context.metrics.rotations.incident("sent_late")
            self._sessions.audit("refresh_token_sent_again", session, reason="sent_late")

    async def _may_repeat(self, this: Try, failure: AnswerLostError, asked_at: float) -> bool:
        """Returns True if the token may be sent once more: its answer was lost, and nothing else happened."""
        if this.again or this.permit.probe or isinstance(failure, AnswerLateError):
            return False
        await asyncio.sleep(random.uniform(*_REPEAT_AFTER))  # noqa: S311 - jitter, no secret
        if steady_now() - asked_at >= self._context.settings.grace or not this.permit.valid:
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
        self, this: Try, failure: ProviderUnavailableError, why: Why, marker: Refreshing | None
    ) -> Outcome:
        session = this.found.session
        _log.warning("provider_unavailable", session=session.id, cause=str(failure))
        if await self._leave(this, marker) in (Write.GONE, Write.STALE):
            return await self._as_it_stands(this.found)
        wait = failure.retry_after or self._context.rest(session) or None
        refused = why == "provider_refused"
        problem = Problem.PROVIDER_REFUSED_CLIENT if refused else Problem.PROVIDER_UNAVAILABLE
        return Deferred(problem, wait, why)

    async def _leave(self, this: Try, marker: Refreshing | None) -> Write | None:
        """Puts this in the place of our marker; None if the store did not answer: then ours stays."""
        try:
            return await self._sessions.mark_refreshing(this.found.session, marker, expected=this.marker)
        except StoreUnavailableError:
            _log.warning("marker_left", session=this.found.session.id)
            return None

    async def _grant_gone(self, this: Try, reason: EndReason) -> Outcome:
        if this.again:
            reason = EndReason.REFRESH_LOST
            self._context.metrics.rotations.incident("reuse_suspected")
        return await self._end(this.found, this.found.session, reason)

    async def _keep(self, found: Found, answer: TokenAnswer) -> Outcome:
        session = found.session
        try:
            claims = await self._context.client.refreshed_claims(
                await self._refreshed_claims(session, answer),
                sub=session.sub,
                access_token=answer.access_token,
                proof_key=answer.proof_key,
            )
        except IdTokenRejectedError as rejected:
            _log.warning("refreshed_identity_refused", session=session.id, reason=rejected.reason)
            await self._revoke(session, answer, EndReason.IDENTITY_CHANGED)
            return await self._end(found, session, EndReason.IDENTITY_CHANGED)
        if self._is_shut_out(session, claims):
            outcome = await self._end(found, session, EndReason.NOT_ALLOWED)
            await self._revoke(session, answer, EndReason.NOT_ALLOWED)
            return outcome
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
                await self._revoke(session, answer)
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
                return await self._context.client.validate_refreshed_id_token(
                    answer.id_token, sub=session.sub, access_token=answer.access_token
                )
        except (ProviderUnavailableError, TimeoutError) as failure:
            _log.warning("refreshed_id_token_unchecked", session=session.id, cause=str(failure))
        except IdTokenRejectedError as rejected:
            if rejected.reason in _ANOTHER_IDENTITY:
                raise
            _log.warning("refreshed_id_token_ignored", session=session.id, reason=rejected.reason)
        return None

    def _is_shut_out(self, session: Session, claims: Claims | None) -> bool:
        """Returns True if the provider's rule does not let this user in, by the claims of the refresh.

        What it did not tell keeps nobody out; a refresh without claims changes nothing.
        """
        rule = self._context.client.settings.allow
        return rule is not None and claims is not None and is_refuted(rule, {**session.claims, **claims})

    def _lost(self, session: Session, reason: str) -> None:
        """New tokens came, and nobody keeps them."""
        self._context.metrics.rotations.incident("rotation_lost")
        self._sessions.audit("rotation_lost", session, reason=reason)

    async def _as_it_stands(self, found: Found) -> Outcome:
        current = await self._sessions.open(found.handle)
        if isinstance(current, NoSession):
            return Over(current.problem, current.reason)
        if current.session.version > found.session.version:
            return Rotated(current)
        return Deferred(Problem.PROVIDER_UNAVAILABLE, why="busy")

    async def _end(self, found: Found, session: Session, reason: EndReason) -> Outcome:
        ended = await _insist(lambda: self._sessions.end(session, reason, fence="version"))
        if ended is None:
            return Deferred(Problem.STORE_UNAVAILABLE, why="store_unavailable")
        if ended:
            return Over(Problem.SESSION_ENDED, reason, here=True)
        return await self._as_it_stands(found)  # ended by somebody else, who left a reason; or saved anew

    async def _revoke(self, session: Session, answer: TokenAnswer, ended: EndReason | None = None) -> None:
        """Revokes the tokens that came; `ended`: why the session ends here, else it was gone before.

        A provider that does not rotate gave no refresh token: then the session's goes, if it ends here, else
        the access token.
        """
        refresh_token = answer.refresh_token or (session.tokens.refresh_token if ended else None)
        client, reason = self._context.client, ended or "came_too_late"
        if refresh_token is not None:
            revoked = await client.revoke(refresh_token, "refresh_token")
        else:
            revoked = await client.revoke(answer.access_token, "access_token")
        if revoked is not None:
            self._sessions.audit("tokens_revoked" if revoked else "revocation_failed", session, reason=reason)


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
