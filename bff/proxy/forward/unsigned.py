"""The calls for which no session is looked up, and that carry a token all the same."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bff.proxy.forward.credentials import Anonymous, Refused, Signed
from bff.session.model import OwnToken
from bff.session.token_policy import PassOn

Mode = Literal["any", "invalid_token", "never"]
"""The setting `refresh_on_401`."""


@dataclass(frozen=True, slots=True)
class TokenOnly(Anonymous):
    """A credential: the call goes out without a session, and with this token.

    `own`: the token as we have it, where we can have another one. `claims`: those of a client's own token.
    """

    token: str = field(repr=False)
    own: OwnToken | None = field(default=None, repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def subject(self) -> str | None:
        """The user of a client's own token."""
        return self.claims.get("sub")

    @property
    def holder(self) -> str | None:
        """The name by which limits count that user's calls; no session has such a key."""
        if self.subject is None:
            return None
        user = json.dumps([self.claims.get("iss"), self.subject])  # ASCII, whatever an issuer signs
        return f"bearer {hashlib.sha256(user.encode()).hexdigest()[:32]}"


def holder_of(credential: Signed | Anonymous) -> str | None:
    """Returns the name by which limits count a call: its session's key, or its user; None for neither."""
    if isinstance(credential, Signed):
        return credential.found.session.key
    return credential.holder if isinstance(credential, TokenOnly) else None


class Unsigned(Protocol):
    """The source of such credentials, for one route."""

    async def unsigned(self) -> TokenOnly | Refused:
        """Returns the credential of a new call."""

    def unsigned_over(self, credential: TokenOnly) -> bool:
        """Returns True if the token ended during a wait: then ask anew."""

    async def renew_unsigned(
        self, sent: TokenOnly, *, invalid_token: bool, mode: Mode
    ) -> TokenOnly | PassOn | Refused:
        """Decides after a backend's 401: repeat with another token, pass it on, or refuse."""
