"""Whose token goes with a call: session, plan, refresh, in one closed answer.

Rule 1: "not known" (store or provider out of reach) is never answered as "not signed in".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, assert_never

from bff.errors import Problem, StoreUnavailableError
from bff.observe.logs import get_logger
from bff.refresh import Deferred, Over, Refresher, Rotated
from bff.session.model import EndReason, Session
from bff.session.plan import (
    Cause,
    Expired,
    PassOn,
    Refresh,
    Retry,
    UseAndRefresh,
    UseToken,
    plan_after_401,
    plan_use,
)
from bff.session.sessions import Found, NoSession, SessionReader, Sessions
from bff.settings.model import RefreshSettings
from bff.tasks import Tasks

T = TypeVar("T")

_log = get_logger("bff.credentials")


class Signed(NamedTuple):
    """The call goes out with this session's access token."""

    found: Found


@dataclass(frozen=True, slots=True)
class Anonymous:
    """The call goes out without a token."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The call does not go out."""

    problem: Problem
    reason: EndReason | None = None
    retry_after: float | None = None


class Credentials:
    """Finds and renews the token of a call. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        refresher: Refresher,
        tasks: Tasks,
        refresh_settings: RefreshSettings,
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._refresher = refresher
        self._tasks = tasks
        self._refresh_settings = refresh_settings
        self.clock = clock

    def at_hand(self, cookie_headers: Sequence[bytes]) -> Signed | None:
        """The credential of a new call, if it can be told without waiting; None to ask `obtain`."""
        found = self._sessions.cached(cookie_headers)
        if found is None:
            return None
        session = found.session
        step = plan_use(session, self.clock(), self._refresh_settings)
        if isinstance(step, UseAndRefresh):
            self._refresher.ahead(found)
        elif not isinstance(step, UseToken):
            return None
        self._slide(session)
        return Signed(found)

    def look_up(self, cookie_headers: Sequence[bytes]) -> Callable[[], Found | None]:
        """How to ask for the session of these headers without waiting, as often as wanted.

        None out of it means: ask `obtain`.
        """
        return self._sessions.look_up(cookie_headers)

    def reader(self, cookie_headers: Sequence[bytes]) -> SessionReader | None:
        """How to read the session of these headers where nothing is kept; None where something is."""
        return self._sessions.reader(cookie_headers)

    def quiet_until(self, found: Found) -> float:
        """Until when its token is good and nothing is to be noted, in seconds since the epoch."""
        return self._sessions.quiet_until(found.session, self._refresh_settings)

    async def obtain(
        self, cookie_headers: Sequence[bytes], *, address: str, required: bool = True
    ) -> Signed | Anonymous | Refused:
        """The credential of a new call; with `required` false a missing session is `Anonymous`."""
        try:
            looked_up = await self._sessions.find(cookie_headers, address=address)
        except StoreUnavailableError:
            return Refused(Problem.STORE_UNAVAILABLE)
        if isinstance(looked_up, NoSession):
            return Refused(looked_up.problem, looked_up.reason) if required else Anonymous()
        credential = await self._usable(looked_up)
        if isinstance(credential, Signed):
            self._slide(credential.found.session)
            return credential
        over = credential.problem.status == 401  # noqa: PLR2004 - the status that means "sign in again"
        return Anonymous() if over and not required else credential

    async def renew(
        self,
        signed: Signed,
        *,
        invalid_token: bool,
        mode: Literal["any", "invalid_token", "never"],
    ) -> Signed | PassOn | Refused:
        """What to do after a backend's 401: repeat with these tokens, pass it on, or refuse."""
        sent = signed.found
        try:
            current = await self._sessions.open(sent.handle)
        except StoreUnavailableError:
            return Refused(Problem.STORE_UNAVAILABLE)
        if isinstance(current, NoSession):
            return Refused(current.problem, current.reason)
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
                return Signed(current)
            case PassOn():
                return step
            case Refresh(cause):
                return await self._rotate(current, cause, or_else=None if invalid_token else PassOn())
            case other:
                assert_never(other)

    def used(self, session: Session) -> bool:
        """Notes a use that is no call of its own, as throttled as any; whether it was due."""
        return self._slide(session)

    async def _usable(self, found: Found) -> Signed | Refused:
        step = plan_use(found.session, self.clock(), self._refresh_settings)
        match step:
            case UseToken():
                return Signed(found)
            case UseAndRefresh():
                self._refresher.ahead(found)
                return Signed(found)
            case Expired():
                await self._end_quietly(found.session)
                return Refused(Problem.SESSION_EXPIRED, EndReason.EXPIRED)
            case Refresh(cause, usable):
                return await self._rotate(found, cause, or_else=Signed(found) if usable else None)
            case other:
                assert_never(other)

    async def _rotate(self, found: Found, cause: Cause, *, or_else: T | None) -> Signed | Refused | T:
        outcome = await self._refresher.rotate(found, cause)
        match outcome:
            case Rotated(rotated):
                return Signed(rotated)
            case Over(problem, reason):
                return Refused(problem, reason)
            case Deferred(problem, retry_after):
                return Refused(problem, retry_after=retry_after) if or_else is None else or_else
            case other:
                assert_never(other)

    def _slide(self, session: Session) -> bool:
        due = self._sessions.slide_due(session)
        if due:
            self._tasks.spawn(self._slide_quietly(session), name=f"slide {session.id}")
        return due

    async def _slide_quietly(self, session: Session) -> None:
        try:
            await self._sessions.slide(session)
        except StoreUnavailableError:
            _log.warning("slide_failed", session=session.id)

    async def _end_quietly(self, session: Session) -> None:
        try:
            await self._sessions.end(session, EndReason.EXPIRED)
        except StoreUnavailableError:
            _log.warning("end_failed", session=session.id)
