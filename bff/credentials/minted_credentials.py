"""The credentials of routes whose backend gets a token that is minted here (`token = "minted"`)."""

from typing import Any

from bff.credentials.backend_token_credentials import OwnTokenCredentials
from bff.session.cached_session import CachedSession
from bff.session.minted_claims import Content
from bff.session.minted_tokens import Mint
from bff.session.model import Found, OwnToken


class MintedCredentials(OwnTokenCredentials):
    """The credentials of one route's calls; the other arguments are those of `Credentials`."""

    def __init__(self, mint: Mint, content: Content, **common: Any) -> None:
        super().__init__(**common)
        self._mint = mint
        self._content = content

    def token_at_hand(self, found: Found) -> OwnToken:
        """Returns the session's token for the backend; minting takes no wait."""
        return self._mint.token(self._content, found.session)

    def token_of(self, cached: CachedSession) -> OwnToken | None:
        """Returns the token that was minted for this version of the session."""
        return self._mint.at_hand(self._content, cached.key, cached.version)

    async def token_for(self, found: Found, *, refused: str | None = None) -> OwnToken:
        """Returns the session's token for the backend, or another one than that has `refused`."""
        return self._mint.token(self._content, found.session, refused=refused)
