"""A route's settings about the token that its backend gets."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from bff.settings.sections import Section
from bff.settings.value_types import Seconds, SecondsOrZero

TokenKind = Literal["session", "exchange", "client", "minted", "none"]
"""The kinds: the session's own, got in exchange for it, the proxy's own as a client, made here, none."""

OF_A_SIGN_IN = ("auth_time", "acr")
"""Claims that a minted token has in any case, where they are known (RFC 9068 2.2.1)."""

RESERVED = frozenset(
    {
        "acr", "act", "aud", "auth_time", "client_id", "cnf", "events", "exp", "iat", "iss", "jti", "may_act",
        "nbf", "nonce", "scope", "sid", "sub",
    }
)  # fmt: skip
"""Claims that are the token's own, or would make another one of it: no setting chooses them."""

Scope = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$", max_length=256)]
ClaimName = Annotated[str, Field(min_length=1, max_length=256)]
Audience = Annotated[str, Field(min_length=1, max_length=512)]


class MintedSettings(Section):
    """`[minted]`: the tokens that are made here."""

    issuer: str | None = None  # None: server.public_url
    lifetime: Annotated[Seconds, Field(ge=5, le=3600)] = 60.0


class RouteTokenSettings(Section):
    """The part of `[[route]]` about tokens."""

    token: TokenKind | None = None  # None: "exchange" with an audience
    audience: Audience | None = None
    scopes: tuple[Scope, ...] = ()  # of a token of the proxy's own
    resource: tuple[str, ...] = ()  # likewise (RFC 8707)
    token_provider: str | None = None  # that gives it; None: the frontend's default one
    claims: tuple[ClaimName, ...] = ()  # of the sign-in, in a minted token

    bearer_audience: Audience | None = None  # of the tokens that clients bring
    bearer_issuer: str | None = None  # None: provider.issuer
    bearer_type: Literal["at+jwt", "jwt"] = "at+jwt"
    bearer_introspection: bool = False  # True: the provider is asked about each of them (RFC 7662)
    bearer_revocations: SecretStr | None = None  # the issuer's Redis, with its marks: a URL
    bearer_revocations_prefix: str = Field(default="issuer", pattern=r"^[A-Za-z0-9_.-]{1,32}$")
    bearer_fresh: Annotated[SecondsOrZero, Field(le=300)] = 0.0  # for which such an answer is believed
    bearer_recheck: Annotated[Seconds, Field(ge=0.05, le=300)] = 10.0  # of tokens that have a stream open

    def told_claims(self) -> tuple[str, ...]:
        """The claims of the sign-in that a minted token of this route has, where they are known."""
        return (*self.claims, *OF_A_SIGN_IN) if self.token == "minted" else ()  # noqa: S105 - a kind

    dpop: bool | None = None  # None: where the provider binds tokens so

    def sends_proofs(self, *, by_default: bool) -> bool:
        """Returns True if a token that is bound to a key goes with a proof (RFC 9449).

        No provider says so for minted tokens: they are bound where the route asks for it.
        """
        kind = self.token_kind()
        if kind == "none":
            return False
        return (by_default and kind != "minted") if self.dpop is None else self.dpop

    def token_kind(self) -> TokenKind:
        """The token that the backend gets."""
        return self.token or ("session" if self.audience is None else "exchange")
