"""A route's settings about the token that its backend gets."""

from typing import Annotated, Literal

from pydantic import Field

from bff.settings.sections import Section

TokenKind = Literal["session", "exchange", "client", "none"]
"""The kinds: the session's own, one got in exchange for it, the proxy's own as a client, none."""

Scope = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$", max_length=256)]
Audience = Annotated[str, Field(min_length=1, max_length=512)]


class RouteTokenSettings(Section):
    """The part of `[[route]]` about tokens."""

    token: TokenKind | None = None  # None: "exchange" with an audience
    audience: Audience | None = None
    scopes: tuple[Scope, ...] = ()  # of a token of the proxy's own
    resource: tuple[str, ...] = ()  # likewise (RFC 8707)

    def token_kind(self) -> TokenKind:
        """The token that the backend gets."""
        return self.token or ("session" if self.audience is None else "exchange")
