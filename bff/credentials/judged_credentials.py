"""The credentials of routes with a rule about claims, or with headers made of claims.

Rule 1: a call that the rule turns away goes to no backend, and no token is got for it elsewhere.
Rule 2: a call on the fast path is let in by the view that the session in memory carries; without one, or
beyond its time, the whole rule is asked.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, assert_never

from bff.credentials.client_credentials import ClientCredentials
from bff.credentials.credential import Anonymous, Mode, Ready, Refused, Signed
from bff.credentials.exchanged_credentials import ExchangedCredentials
from bff.credentials.minted_credentials import MintedCredentials
from bff.credentials.session_credentials import Credentials
from bff.credentials.session_for_backend import OwnReady
from bff.errors import Problem
from bff.policy.route_access import RouteAccess, claim_headers
from bff.session.cached_session import CachedSession
from bff.session.model import Found, Unproved
from bff.session.rotation_policy import PassOn

T = TypeVar("T")


class JudgedCredentials(Credentials):
    """The credentials of one route's calls; the other arguments are those of `Credentials`."""

    def __init__(self, access: RouteAccess, **common: Any) -> None:
        super().__init__(**common)
        self._access = access

    def at_hand(self, cookie_headers: Sequence[bytes]) -> Signed | None:
        """Returns the credential as for every route, where the rule lets the session in."""
        signed = super().at_hand(cookie_headers)
        return None if signed is None or self._refused(signed.found) else signed

    def quiet(self, cached: CachedSession | None) -> Ready | None:
        """Returns the session as for every route, where the rule lets it in."""
        ready = super().quiet(cached)
        if isinstance(ready, CachedSession):
            return ready.allowed(self._access.index, self.clock())
        return ready

    async def obtain(
        self, cookie_headers: Sequence[bytes], *, address: str, required: bool = True
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a new call, or refuses one that the rule does not let in."""
        return self._judged(await super().obtain(cookie_headers, address=address, required=required))

    async def again(self, signed: Signed, *, required: bool) -> Signed | Anonymous | Refused:
        """Decides anew, by the claims as they are now."""
        return self._judged(await super().again(signed, required=required))

    async def renew(self, signed: Signed, *, invalid_token: bool, mode: Mode) -> Signed | PassOn | Refused:
        """Decides what follows a backend's 401; newer tokens may have come with other claims."""
        return self._judged(await super().renew(signed, invalid_token=invalid_token, mode=mode))

    def _judged(self, credential: T) -> T | Refused:
        if isinstance(credential, Signed):
            return self._refused(credential.found) or credential
        return credential

    def _refused(self, found: Found) -> Refused | None:
        session, access = found.session, self._access
        match access.refusal(session.all_claims, self.clock(), bound=session.bound):
            case None:
                return None
            case "claims":
                return Refused(Problem.NOT_ALLOWED, session=session.key)
            case "device":
                return Refused(Problem.BINDING_REQUIRED, Unproved.NOT_BOUND, session=session.key)
            case "sign_in":
                return Refused(Problem.STEP_UP_REQUIRED, session=session.key, demand=access.demand)
            case other:
                assert_never(other)


class JudgedClientCredentials(ClientCredentials, JudgedCredentials):
    """The credentials of a judged route with a token in the proxy's own name: the session is judged first."""


class JudgedMintedCredentials(MintedCredentials, JudgedCredentials):
    """The credentials of a judged route with a token that is minted here."""


class JudgedExchangedCredentials(JudgedCredentials, ExchangedCredentials):
    """The credentials of a judged route with a token in exchange for the session's."""

    def ready(self, cookie: bytes) -> Ready | None:
        """Returns the session with the backend's own token, where the rule lets it in."""
        ready = super().ready(cookie)
        if ready is None or self._refused(ready.found):
            return None
        headers = claim_headers(self._access.headers, ready.found.session.all_claims)
        return OwnReady(ready.token, ready.found, b"".join(b"%b: %b\r\n" % field for field in headers))

    def quiet(self, cached: CachedSession | None) -> Ready | None:
        """Returns the session as for every route: `ready` asks the rule."""
        return ExchangedCredentials.quiet(self, cached)

    async def _exchanged(self, found: Found) -> Signed | Refused:
        """Returns the backend's token, which is got for nobody whom the rule does not let in."""
        return self._refused(found) or await super()._exchanged(found)
