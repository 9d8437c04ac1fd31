"""The calls for which no session is looked up, and that carry a token all the same."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from bff.proxy.forward.credentials import Anonymous, Refused
from bff.session.model import OwnToken
from bff.session.token_policy import PassOn

Mode = Literal["any", "invalid_token", "never"]
"""The setting `refresh_on_401`."""


@dataclass(frozen=True, slots=True)
class TokenOnly(Anonymous):
    """A credential: the call goes out without a session, and with this token.

    `own`: the token as we have it, where we can have another one.
    """

    token: str = field(repr=False)
    own: OwnToken | None = field(default=None, repr=False)


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
