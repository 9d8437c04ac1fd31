"""Limits on sign-ins, callbacks, requested rotations and device proofs of a browser, session, address (B-30).

Rule 1: an act of a browser or a session counts by that first, so that others at its address are not
held up by it, and then with everything else of its address: a new browser is made by one request.
"""

from collections.abc import Mapping
from typing import Literal

from starlette.responses import Response

from bff.errors import Problem
from bff.limits.rate_limits import RateLimits
from bff.policy.client_address import rate_key
from bff.policy.quota import Limited, Quota
from bff.session.model import Session
from bff.settings.model import LimitSettings
from bff.web.responses import problem_answer

_MINUTE = 60.0


class EndpointLimits:
    """The limits of the endpoints, shared by all processes; each process keeps them by itself as well."""

    def __init__(self, settings: LimitSettings, limits: RateLimits) -> None:
        self._limits = limits
        self._sign_in: Mapping[str, Quota] = {
            "login": Quota("login", settings.login_per_minute, _MINUTE, wall=True),
            "callback": Quota("callback", settings.callback_per_minute, _MINUTE, wall=True),
        }
        self._refresh = Quota("refresh", settings.refresh_per_minute, _MINUTE, wall=True)
        self._device = Quota("device", settings.device_per_minute, _MINUTE, wall=True)
        self._address = Quota("address", settings.address_per_minute, _MINUTE, wall=True)

    async def sign_in(
        self, what: Literal["login", "callback"], address: str, browser: str | None
    ) -> Limited | None:
        """Counts a sign-in's step; `browser` names a browser that has a sign-in under way."""
        who = rate_key(address) if browser is None else f"browser {browser}"
        limited = await self._limits.over(self._sign_in[what], who, address=address)
        return limited or await self._of_address(address)

    async def refresh(self, session: Session, address: str) -> Limited | None:
        """Counts a rotation that a page asks for."""
        limited = await self._limits.over(
            self._refresh, session.key, address=address, session=session.id, sub=session.sub
        )
        return limited or await self._of_address(address, session)

    async def device(self, address: str) -> Limited | None:
        """Counts a registration or renewal of a device: nothing is known of the caller but the address."""
        limited = await self._limits.over(self._device, rate_key(address), address=address)
        return limited or await self._of_address(address)

    async def _of_address(self, address: str, session: Session | None = None) -> Limited | None:
        return await self._limits.over(
            self._address,
            rate_key(address),
            address=address,
            session=None if session is None else session.id,
            sub=None if session is None else session.sub,
        )


def too_many(limited: Limited | None) -> Response | None:
    """The answer to a refusal by a limit, if there is one."""
    if limited is None:
        return None
    return problem_answer(Problem.RATE_LIMITED, retry_after=limited.wait, headers=limited.fields())
