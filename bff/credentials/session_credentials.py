"""The credential of a call: session, plan, refresh, in one closed answer.

Rule 1: "not known" (store or provider out of reach) is never answered as "not signed in".
Rule 2: no token that has ended goes to a backend: after each wait it is decided anew. All waits for rotations
of one decision together take no longer than `refresh.timeout`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar, assert_never

from bff.credentials.credential import Anonymous, Mode, Ready, Refused, Signed, without
from bff.errors import Problem, StoreUnavailableError
from bff.observe.logs import get_logger
from bff.policy.step_up import Demand
from bff.refresh import Deferred, Outcome, Over, Refresher, Rotated, UserNeeded
from bff.session.cached_session import CachedSession
from bff.session.invalidation_feed import steady_now
from bff.session.model import ID_LENGTH, EndReason, Found, Session
from bff.session.rotation_policy import (
    Cause,
    Expired,
    PassOn,
    Refresh,
    Retry,
    UseAndRefresh,
    UseToken,
    plan_after_401,
    plan_use,
    token_ended,
)
from bff.session.session_reader import Then
from bff.session.sessions import NoSession, Sessions
from bff.settings.model import RefreshSettings

T = TypeVar("T")

_MOST_ROTATIONS = 2
"""Rotations that one decision waits for: a second one where the first one's token is over already."""

_log = get_logger("bff.credentials")


class Credentials:
    """Finds and renews the token of a call. `clock` gives seconds since the epoch."""

    __slots__ = ("_nearby", "_plain", "_refresh_settings", "_refresher", "_sessions", "clock")

    def __init__(
        self,
        *,
        sessions: Sessions,
        refresher: Refresher,
        refresh_settings: RefreshSettings,
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._nearby = sessions.nearby
        self._refresher = refresher
        self._refresh_settings = refresh_settings
        self.clock = clock
        self._plain = type(self).quiet is Credentials.quiet  # no rule, and no token of the backend's own

    def at_hand(self, cookie_headers: Sequence[bytes]) -> Signed | None:
        """Returns the credential of a new call, if that takes no wait; None to ask `obtain`."""
        found = self._sessions.cached(cookie_headers)
        if found is None:
            return None
        session = found.session
        step = plan_use(session, self.clock(), self._refresh_settings)
        if isinstance(step, UseAndRefresh):
            self._refresher.ahead(found)
        elif not isinstance(step, UseToken):
            return None
        self._slide(found)
        return Signed(found)

    def ready(self, cookie: bytes) -> Ready | None:
        """Returns the session of this `Cookie` header, if its call needs nothing but its token; else None.

        A subclass with more to ask asks it in `quiet`: there is no way around that.
        """
        cached = self._nearby.near(cookie)
        clock = self.clock
        if self._plain and cached is not None and clock() < cached.quiet_until:
            return cached
        return self.quiet(cached)

    def quiet(self, cached: CachedSession | None) -> Ready | None:
        """Returns this session, if its call needs nothing but its token; else None.

        A use that is to be noted is noted beside the call.
        """
        if cached is None:
            return None
        clock = self.clock
        now = clock()
        if now < cached.quiet_until:
            return cached
        if now < cached.good_until:
            self._sessions.note_use(cached, _note_over)
            return cached
        return None

    def reader(self, cookie: bytes) -> Callable[[Then], None] | None:
        """Returns a reader, from Redis, of the session of this `Cookie` header; None to ask `obtain`."""
        return self._sessions.reader(cookie)

    def quiet_until(self, found: Found) -> float:
        """Returns the time until which a session needs nothing but its token, in seconds since the epoch."""
        return self._sessions.quiet_until(found.session)

    async def obtain(
        self, cookie_headers: Sequence[bytes], *, address: str, required: bool = True
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a new call; with `required` false a missing session is `Anonymous`."""
        try:
            looked_up = await self._sessions.find(cookie_headers, address=address)
        except StoreUnavailableError:
            return Refused(Problem.STORE_UNAVAILABLE)
        if isinstance(looked_up, NoSession):
            refused = Refused(looked_up.problem, looked_up.reason, session=looked_up.key)
            return refused if required else Anonymous()
        credential = await self._usable(looked_up)
        if isinstance(credential, Signed):
            self._slide(credential.found)
            return credential
        return without(credential, required=required)

    def over(self, credential: Signed | Anonymous) -> bool:
        """Returns true if a credential ended during a wait: then ask `again`."""
        return isinstance(credential, Signed) and token_ended(credential.found.session, self.clock())

    async def again(self, signed: Signed, *, required: bool) -> Signed | Anonymous | Refused:
        """Decides anew about a credential that is `over`."""
        return without(await self._usable(signed.found), required=required)

    async def renew(
        self,
        signed: Signed,
        *,
        invalid_token: bool,
        mode: Mode,
    ) -> Signed | PassOn | Refused:
        """Decides after a backend's 401: repeat with these tokens, pass it on, or refuse."""
        sent = signed.found
        current = await self._current(sent)
        if isinstance(current, Refused):
            return current
        step = plan_after_401(
            current.session,
            self.clock(),
            sent_version=sent.session.version,
            invalid_token=invalid_token,
            mode=mode,
            settings=self._refresh_settings,
        )
        match step:
            case Retry():
                return await self._usable(current)
            case PassOn():
                return step
            case Refresh(cause):
                return await self._rotate(current, cause, or_else=None if invalid_token else PassOn())
            case other:
                assert_never(other)

    async def meets(self, signed: Signed, demand: Demand) -> bool:
        """Returns true if the session's sign-in is what a backend demands; then another would not help."""
        try:
            current = await self._sessions.open(signed.found.handle)
        except StoreUnavailableError:
            return False
        claims = {} if isinstance(current, NoSession) else current.session.claims
        return self.clock() < demand.met_until(claims)

    def used(self, found: Found) -> bool:
        """Notes a use of the session that is no call, throttled as any; returns true if the note was due."""
        return self._slide(found)

    async def _current(self, found: Found) -> Found | Refused:
        """Returns the session as it stands in Redis now."""
        try:
            current = await self._sessions.open(found.handle)
        except StoreUnavailableError:
            return Refused(Problem.STORE_UNAVAILABLE)
        if isinstance(current, NoSession):
            return Refused(current.problem, current.reason, session=current.key)
        return current

    async def _usable(
        self, found: Found, *, deadline: float | None = None, rotations: int = 0
    ) -> Signed | Refused:
        step = plan_use(found.session, self.clock(), self._refresh_settings)
        key = found.session.key
        match step:
            case UseToken():
                return Signed(found)
            case UseAndRefresh():
                self._refresher.ahead(found)
                return Signed(found)
            case Expired():
                reason = self._sessions.time_is_up(found.session) or EndReason.EXPIRED
                await self._end_quietly(found.session, reason)
                return Refused(Problem.SESSION_EXPIRED, reason, session=key)
            case Refresh(cause):
                return await self._rotate(found, cause, or_else=None, deadline=deadline, rotations=rotations)
            case other:
                assert_never(other)

    async def _rotate(
        self,
        found: Found,
        cause: Cause,
        *,
        or_else: T | None,
        deadline: float | None = None,
        rotations: int = 0,
    ) -> Signed | Refused | T:
        deadline = deadline or steady_now() + self._refresh_settings.timeout
        outcome, key = await self._rotation(found, cause, deadline), found.session.key
        match outcome:
            case Rotated(rotated):
                if not token_ended(rotated.session, self.clock()):
                    return Signed(rotated)
                if rotations + 1 < _MOST_ROTATIONS:
                    return await self._usable(rotated, deadline=deadline, rotations=rotations + 1)
                return Refused(Problem.PROVIDER_UNAVAILABLE, session=key)
            case Over(problem, reason):
                return Refused(problem, reason, session=key)
            case UserNeeded():
                refused = Refused(Problem.SESSION_EXPIRED, EndReason.SIGN_IN_REQUIRED, session=key)
            case Deferred(problem, retry_after):
                refused = Refused(problem, retry_after=retry_after, session=key)
            case other:
                assert_never(other)
        if cause == "expiry" and not token_ended(found.session, self.clock()):
            return Signed(found)  # it is good still
        return refused if or_else is None else or_else

    async def _rotation(self, found: Found, cause: Cause, deadline: float) -> Outcome:
        try:
            async with asyncio.timeout(max(0.0, deadline - steady_now())):
                return await self._refresher.rotate(found, cause)
        except TimeoutError:
            return Deferred(Problem.PROVIDER_UNAVAILABLE, why="queued")

    def _slide(self, found: Found) -> bool:
        due = self._sessions.slide_due(found.session)
        if due:
            self._sessions.begin_note(found, _note_over)
        return due

    async def _end_quietly(self, session: Session, reason: EndReason) -> None:
        try:
            await self._sessions.end(session, reason)
        except StoreUnavailableError:
            _log.warning("end_failed", session=session.id)


def _note_over(key: str, failure: StoreUnavailableError | None) -> None:
    if failure is not None:
        _log.warning("slide_failed", session=key[:ID_LENGTH])
