"""The credentials of calls whose backend gets a token of its own that is no part of the session.

Rule 1: the session is found, judged and kept as for every route; only then is there a token.
Rule 2: a token for somebody else is never sent instead: without its own the call does not go out.
Rule 3: after a backend's 401 the token is replaced once; one that is young is not, as no session's is. The
session's own tokens are left alone: the backend has not seen them.
"""

from collections.abc import Sequence
from typing import assert_never

from bff.credentials.credential import Anonymous, Mode, Ready, Refused, Signed, without
from bff.credentials.session_credentials import Credentials
from bff.credentials.session_for_backend import OwnFound, shown
from bff.errors import Problem
from bff.refresh.client_tokens import NoToken
from bff.session.cached_session import CachedSession
from bff.session.lifetime import CLOCKS_APART
from bff.session.model import Found, OwnToken
from bff.session.rotation_policy import PassOn


class OwnTokenReady:
    """A session whose next call to one backend needs nothing but that backend's token; see `Ready`."""

    __slots__ = ("_cached", "_own", "token")

    def __init__(self, cached: CachedSession, own: OwnToken) -> None:
        self._cached = cached
        self._own = own
        self.token = own.access_token.encode()

    @property
    def key(self) -> str:
        """The session's key."""
        return self._cached.key

    @property
    def proof_key(self) -> bytes:
        """The text of the key that the token is bound to; empty for a bearer token."""
        own = self._own
        return self._cached.proof_key if own.bound else (own.proof_key or "").encode()

    @property
    def provider(self) -> str:
        """The name of the session's provider."""
        return self._cached.provider

    @property
    def lines(self) -> bytes:
        """The header lines of the route."""
        return self._cached.lines

    @property
    def found(self) -> Found:
        """The session, with the backend's token in place of its own."""
        return shown(self._cached.found, self._own)


def replaceable(obtained_at: float, now: float, *, invalid_token: bool, mode: Mode, min_age: float) -> bool:
    """Returns True if a backend's 401 is a reason to replace the token that it was sent.

    An endpoint that answers 401 for reasons of its own must not cost a new token with each call.
    """
    if mode == "never" or (mode == "invalid_token" and not invalid_token):
        return False
    return not -CLOCKS_APART < now - obtained_at < min_age


class OwnTokenCredentials(Credentials):
    """The credentials of one route's calls; a subclass knows where the token comes from."""

    def token_at_hand(self, found: Found) -> OwnToken | None:
        """Returns the token for a session's calls, if that takes no wait."""
        raise NotImplementedError

    def token_of(self, cached: CachedSession) -> OwnToken | None:
        """Returns the same for a session of the near cache, and looks no further."""
        raise NotImplementedError

    async def token_for(self, found: Found, *, refused: str | None = None) -> OwnToken | NoToken:
        """Returns the token for a session's calls; another one than a backend has `refused`."""
        raise NotImplementedError

    def at_hand(self, cookie_headers: Sequence[bytes]) -> Signed | None:
        """Returns the credential as for every route, where the backend's token is at hand too."""
        signed = super().at_hand(cookie_headers)
        token = None if signed is None else self.token_at_hand(signed.found)
        return None if signed is None or token is None else Signed(shown(signed.found, token))

    def quiet(self, cached: CachedSession | None) -> Ready | None:
        """Returns the session as for every route, with the backend's token."""
        ready = super().quiet(cached)
        if not isinstance(ready, CachedSession):
            return None
        token = self.token_of(ready)
        return None if token is None else OwnTokenReady(ready, token)

    async def obtain(
        self, cookie_headers: Sequence[bytes], *, address: str, required: bool = True
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a new call, with the backend's token."""
        credential = await super().obtain(cookie_headers, address=address, required=required)
        return await self._completed(credential, required=required)

    async def again(self, signed: Signed, *, required: bool) -> Signed | Anonymous | Refused:
        """Decides anew as for every route, with the backend's token."""
        credential = await super().again(Signed(_whole(signed.found)), required=required)
        return await self._completed(credential, required=required)

    async def renew(self, signed: Signed, *, invalid_token: bool, mode: Mode) -> Signed | PassOn | Refused:
        """Decides after a backend's 401: repeat with another token of its own, or pass it on."""
        sent = signed.found.session.tokens
        settings = self._refresh_settings
        min_age = settings.min_age_for_401
        if not replaceable(
            sent.obtained_at, self.clock(), invalid_token=invalid_token, mode=mode, min_age=min_age
        ):
            return PassOn()
        current = await self._current(signed.found)
        if isinstance(current, Refused):
            return current
        credential = await super().again(Signed(current), required=True)
        if not isinstance(credential, Signed):
            assert isinstance(credential, Refused)
            return credential
        token = await self.token_for(credential.found, refused=sent.access_token)
        if isinstance(token, OwnToken):
            return Signed(shown(credential.found, token))
        return refusal(token, credential.found.session.key) if invalid_token else PassOn()

    async def _completed(
        self, credential: Signed | Anonymous | Refused, *, required: bool
    ) -> Signed | Anonymous | Refused:
        if not isinstance(credential, Signed):
            return credential
        token = await self.token_for(credential.found)
        match token:
            case OwnToken():
                return Signed(shown(credential.found, token))
            case NoToken():
                return without(refusal(token, credential.found.session.key), required=required)
            case other:
                assert_never(other)


def refusal(token: NoToken, session: str | None = None) -> Refused:
    """Returns the refusal of a call for which there is no token at the moment."""
    return Refused(Problem.PROVIDER_UNAVAILABLE, retry_after=token.retry_after, session=session)


def _whole(found: Found) -> Found:
    return found.whole if isinstance(found, OwnFound) else found
