"""The credentials of routes whose backend gets a token in the proxy's own name (`token = "client"`).

Rule 1: the token is the same for everybody: nothing of a user is in it, and nothing of it in a session.
Rule 2: where a route needs no session its calls carry the token all the same (`TokenOnly`).
"""

from collections.abc import Sequence
from typing import Any

from bff.credentials.backend_token_credentials import OwnTokenCredentials, refusal, replaceable
from bff.credentials.credential import Anonymous, Mode, Refused, Signed, TokenOnly
from bff.refresh.client_tokens import ClientToken, NoToken, last_moment
from bff.session.cached_session import CachedSession
from bff.session.model import Found, OwnToken
from bff.session.rotation_policy import PassOn


class ClientCredentials(OwnTokenCredentials):
    """The credentials of one route's calls; the other arguments are those of `Credentials`."""

    def __init__(self, client_token: ClientToken, **common: Any) -> None:
        super().__init__(**common)
        self._client_token = client_token

    def token_at_hand(self, found: Found) -> OwnToken | None:
        """Returns the token, if there is a good one."""
        del found
        return self._client_token.at_hand()

    def token_of(self, cached: CachedSession) -> OwnToken | None:
        """Returns the token, if there is a good one."""
        del cached
        return self._client_token.at_hand()

    async def token_for(self, found: Found, *, refused: str | None = None) -> OwnToken | NoToken:
        """Returns the token, or another one than a backend has `refused`."""
        del found
        return await _got(self._client_token, refused)

    async def obtain(
        self, cookie_headers: Sequence[bytes], *, address: str, required: bool = True
    ) -> Signed | Anonymous | Refused:
        """Finds the credential of a new call; without a session it is the token alone."""
        credential = await super().obtain(cookie_headers, address=address, required=required)
        return await self.unsigned() if type(credential) is Anonymous else credential

    async def unsigned(self) -> TokenOnly | Refused:
        """Returns the credential of a call for which no session is looked up."""
        return _alone(await self._client_token.get())

    def unsigned_over(self, credential: TokenOnly) -> bool:
        """Returns True if the token of such a call ended during a wait."""
        return credential.own is not None and self.clock() >= last_moment(credential.own)

    async def renew_unsigned(
        self, sent: TokenOnly, *, invalid_token: bool, mode: Mode
    ) -> TokenOnly | PassOn | Refused:
        """Decides after a backend's 401 to such a call."""
        assert sent.own is not None
        min_age = self._refresh_settings.min_age_for_401
        if not replaceable(
            sent.own.obtained_at, self.clock(), invalid_token=invalid_token, mode=mode, min_age=min_age
        ):
            return PassOn()
        renewed = _alone(await _got(self._client_token, sent.token))
        return PassOn() if isinstance(renewed, Refused) and not invalid_token else renewed


async def _got(client_token: ClientToken, refused: str | None) -> OwnToken | NoToken:
    return await (client_token.get() if refused is None else client_token.replace(refused))


def _alone(token: OwnToken | NoToken) -> TokenOnly | Refused:
    return refusal(token) if isinstance(token, NoToken) else TokenOnly(token.access_token, token)
