"""The context of the rotations of a process, and one sending of a token."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from bff.errors import Problem, ProviderUnavailableError
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.oidc.http import AnswerLateError, AnswerLostError
from bff.oidc.token_errors import BusyError, ClientRefusedError, FailedError, GrantRefusedError
from bff.refresh.circuit_breaker import CircuitBreaker, Permit, SessionBackoff
from bff.refresh.outcome import Deferred, Outcome, Over, Rotated, UserNeeded, Why
from bff.refresh.refusals import Refusals
from bff.session.model import Refreshing, Session
from bff.session.sessions import Found, NoSession, Sessions
from bff.settings.model import RefreshSettings

_MARKED_LOST = 1.0  # seconds for which a lost answer keeps other processes from trying as well


class RotationContext(NamedTuple):
    """The parts that all rotations of a process share. `clock` gives seconds since the epoch."""

    sessions: Sessions
    client: OidcClient
    settings: RefreshSettings
    metrics: Metrics
    clock: Callable[[], float]
    circuit_breaker: CircuitBreaker
    pauses: SessionBackoff
    refusals: Refusals
    me: str  # this process, and no other one before or beside it

    def rest(self, session: Session) -> float:
        """Seconds until it is worth asking the provider for this session; 0 for now."""
        marker, marked = session.refreshing, 0.0
        if marker is not None and marker.lost:
            since = self.clock() - marker.at
            marked = _MARKED_LOST - since if 0 <= since < _MARKED_LOST else 0.0
        return max(self.circuit_breaker.left(), self.pauses.left(session.key), marked)

    async def standing(self, found: Found) -> Found | Outcome:
        """The session as it stands if its tokens are to be rotated here; else the outcome without that."""
        current = await self.sessions.open(found.handle)
        if isinstance(current, NoSession):
            return Over(current.problem, current.reason)
        session = current.session
        if session.version > found.session.version or session.tokens.refresh_token is None:
            return Rotated(current)  # or there is nothing to rotate with, and it stays as it is
        if wait := self.rest(session):
            if self.pauses.left(session.key) and self.pauses.needs_user(session.key):
                return UserNeeded()
            return Deferred(Problem.PROVIDER_UNAVAILABLE, wait, "resting")
        return current


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt: a refresh token is sent once.

    Attributes:
        marker: ours.
        former: the marker that stood in its place.
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
        """The marker for the record if this try was not sent, or was refused for now."""
        if not self.again:
            return None
        return replace(self.marker if self.former is None else self.former, lost=True)


def why_put_off(failure: ProviderUnavailableError) -> Why:  # noqa: PLR0911 - one for each kind
    """The reason of the audit event."""
    match failure:
        case AnswerLostError(status=int()) | FailedError():
            return "provider_error"
        case AnswerLateError():
            return "answer_late"
        case AnswerLostError():
            return "answer_lost"
        case BusyError():
            return "provider_busy"
        case ClientRefusedError():
            return "provider_refused"
        case GrantRefusedError():
            return "grant_refused"
    return "provider_unreachable"
