"""Limits on the calls of one session and one address to a route (`rate_per_session`, `rate_per_address`).

Rule 1: a route without such a setting has no `RouteRateLimit`, and its calls pay nothing. One with it is
not on the fast path: its calls wait for Redis, for `limits.timeout` at most.
Rule 2: the address is counted before the session is looked up, the session once it is known; a call is
counted once, however often it is sent to the backend.
"""

from bff.credentials.credential import Refused, TokenOnly
from bff.errors import Problem
from bff.limits.rate_limits import RateLimits
from bff.policy.client_address import rate_key
from bff.policy.quota import Limited, Quota
from bff.session.model import Session
from bff.settings.model import RouteSettings


class RouteRateLimit:
    """The limits of one route."""

    def __init__(self, settings: RouteSettings, limits: RateLimits) -> None:
        self._limits = limits
        per_address, per_session = settings.rate_per_address, settings.rate_per_session
        self._address = None if per_address is None else Quota.of(f"address:{settings.path}", per_address)
        self._session = None if per_session is None else Quota.of(f"session:{settings.path}", per_session)

    @classmethod
    def of(cls, settings: RouteSettings, limits: RateLimits) -> "RouteRateLimit | None":
        """Returns the limits of a route; None where it has none."""
        unlimited = settings.rate_per_address is None and settings.rate_per_session is None
        return None if unlimited else cls(settings, limits)

    async def of_address(self, address: str) -> Refused | None:
        """Counts a call of an address; returns the refusal if there were too many."""
        if self._address is None:
            return None
        return _refused(await self._limits.over(self._address, rate_key(address), address=address))

    async def of_bearer(self, credential: TokenOnly, address: str) -> Refused | None:
        """Counts a call by a client's own token for its user, who has what a session has."""
        if self._session is None or credential.holder is None:
            return None
        limited = await self._limits.over(
            self._session, credential.holder, address=address, sub=credential.subject
        )
        return _refused(limited)

    async def of_session(self, session: Session, address: str) -> Refused | None:
        """Counts a call of a session; returns the refusal if there were too many."""
        if self._session is None:
            return None
        limited = await self._limits.over(
            self._session, session.key, address=address, session=session.id, sub=session.sub
        )
        return _refused(limited, session.key)


def _refused(limited: Limited | None, session: str | None = None) -> Refused | None:
    if limited is None:
        return None
    fields = tuple(limited.fields())
    return Refused(Problem.RATE_LIMITED, retry_after=limited.wait, session=session, headers=fields)
