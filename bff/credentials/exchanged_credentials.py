"""The credentials of routes whose backend gets a token of its own in exchange for the session's.

Rule 1: a token for somebody else is never sent instead: without its own the call does not go out.
Rule 2: where the provider does not take the session's token in exchange, that is renewed, once.
Rule 3: a session that has changed during an exchange is read anew, once: it may be over.
The exchange itself, its rests after refusals and the one of several calls: `shared_token_exchange.py`.
"""

from collections.abc import Sequence
from typing import Any

from bff.credentials.credential import Anonymous, Mode, Ready, Refused, Signed, without
from bff.credentials.session_credentials import Credentials
from bff.credentials.session_for_backend import OwnFound, OwnReady, last_moment, shown
from bff.credentials.shared_token_exchange import Changed, Exchanger, NotNow, Unusable
from bff.errors import Problem
from bff.session.cached_session import CachedSession
from bff.session.model import Found, OwnToken
from bff.session.rotation_policy import PassOn, Refresh, plan_after_401


class ExchangedCredentials(Credentials):
    """The credentials of one backend's calls; the other arguments are those of `Credentials`."""

    def __init__(self, audience: str, exchanger: Exchanger, **common: Any) -> None:
        super().__init__(**common)
        self._audience = audience
        self._exchanger = exchanger

    def at_hand(self, cookie_headers: Sequence[bytes]) -> Signed | None:
        """Returns the credential as for every route, where the backend's token is at hand too."""
        signed = super().at_hand(cookie_headers)
        own = None if signed is None else self._own(signed.found)
        return None if own is None else Signed(own)

    def ready(self, cookie: bytes) -> Ready | None:
        """Returns the session as for every route, with the backend's own token; None without one."""
        cached = self._sessions.near(cookie)
        own = None if cached is None else self._own(cached.found)
        if own is None:
            return None
        packed = CachedSession.of(own.handle, own.session, self.quiet_until(own))
        return None if self.quiet(packed) is None else OwnReady(packed.token, own)

    def reader(self, cookie: bytes) -> None:
        """Returns None: each call asks `obtain`, which gets the backend's token."""

    def quiet_until(self, found: Found) -> float:
        """Returns the earlier one of the session's own moment and the end of the backend's token."""
        if not isinstance(found, OwnFound):
            return super().quiet_until(found)
        quiet, ends = super().quiet_until(found.whole), last_moment(found.session)
        return quiet if ends is None else min(quiet, ends)

    async def obtain(
        self, cookie_headers: Sequence[bytes], *, address: str, required: bool = True
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a new call, with the backend's own token."""
        credential = await super().obtain(cookie_headers, address=address, required=required)
        if not isinstance(credential, Signed):
            return credential
        own = await self._exchanged(credential.found)
        return without(own, required=required)

    def over(self, credential: Signed | Anonymous) -> bool:
        """Returns true if the session's token or the backend's own has ended."""
        if not isinstance(credential, Signed):
            return False
        ends = last_moment(credential.found.session)
        return super().over(credential) or (ends is not None and self.clock() >= ends)

    async def again(self, signed: Signed, *, required: bool) -> Signed | Anonymous | Refused:
        """Decides anew as for every route, with the backend's own token."""
        found = signed.found.whole if isinstance(signed.found, OwnFound) else signed.found
        credential = await super().again(Signed(found), required=required)
        if not isinstance(credential, Signed):
            return credential
        return without(await self._exchanged(credential.found), required=required)

    async def renew(self, signed: Signed, *, invalid_token: bool, mode: Mode) -> Signed | PassOn | Refused:
        """Decides after a backend's 401; newer tokens of the session are exchanged again."""
        renewed = await super().renew(signed, invalid_token=invalid_token, mode=mode)
        return await self._exchanged(renewed.found) if isinstance(renewed, Signed) else renewed

    async def _exchanged(self, found: Found) -> Signed | Refused:
        """Returns the backend's token; renews a session's token that is not taken in exchange, once."""
        outcome = self._own(found) or await self._exchange(found)
        if isinstance(outcome, Changed):
            current = await self._current(found)
            if isinstance(current, Refused):
                return current
            found = current
            outcome = self._own(found) or await self._exchange(found)
        if isinstance(outcome, Unusable):
            renewed = await self._renewed(found)
            if not isinstance(renewed, Signed):
                return renewed
            outcome = await self._exchange(renewed.found)
        match outcome:
            case Unusable() | Changed():
                return Refused(Problem.PROVIDER_UNAVAILABLE)
            case NotNow(retry_after, problem):
                return Refused(problem, retry_after=retry_after or None)
        return Signed(outcome)

    async def _exchange(self, found: Found) -> Found | Unusable | NotNow | Changed:
        token = await self._exchanger.exchange(found, self._audience)
        return shown(found, token) if isinstance(token, OwnToken) else token

    async def _renewed(self, found: Found) -> Signed | Refused:
        """Returns the session with newer tokens, if the present ones are old enough to be the reason."""
        session = found.session
        step = plan_after_401(
            session,
            self.clock(),
            sent_version=session.version,
            invalid_token=True,
            mode="any",
            settings=self._refresh_settings,
        )
        if not isinstance(step, Refresh):
            return Refused(Problem.PROVIDER_UNAVAILABLE)
        return await self._rotate(found, step.cause, or_else=None)

    def _own(self, found: Found) -> OwnFound | None:
        token = found.session.exchanged.get(self._audience)
        if token is None:
            return None
        own = shown(found, token)
        ends = last_moment(own.session)
        return own if ends is None or self.clock() < ends else None
