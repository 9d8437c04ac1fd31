"""`TokenVerifier`: the whole check of an access token, as a backend service needs it."""

import time
from collections.abc import Awaitable, Callable, Collection
from typing import Self

from joserfc import jws, jwt
from joserfc.errors import JoseError

from bff.verify.claims import (
    ALGORITHMS,
    MAX_TOKEN,
    Claims,
    Refusal,
    TokenRefusedError,
    check_claims,
    check_header,
)
from bff.verify.fetch import Fetcher
from bff.verify.keys import FetchJson, IssuerKeys, KeysUnavailableError

Revoked = Callable[[Claims], Awaitable[bool]]


class TokenVerifier:
    """Checks RFC 9068 access tokens of one issuer for one audience.

    Args:
        issuer: the identifier, to the letter.
        audience: what this service calls itself.
        algorithms: those that may sign; never `none`, never an HMAC.
        leeway: seconds by which clocks may differ.
        revoked: asked last, for a token that is otherwise good; when it fails, the token is refused (503).
        jwks_uri: where the keys are, if the issuer's metadata need not be asked.
        cooldown: seconds between two fetches of keys that tokens with unknown keys can cause.
        fetch: gets a JSON object; None uses an HTTP client of its own, which `close` closes.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        algorithms: Collection[str] = ALGORITHMS,
        leeway: float = 5.0,
        revoked: Revoked | None = None,
        jwks_uri: str | None = None,
        cooldown: float = 10.0,
        fetch: FetchJson | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not algorithms or any(name.lower() == "none" or name.startswith("HS") for name in algorithms):
            raise ValueError("only algorithms with a public key can be allowed")
        self._issuer, self._audience = issuer, audience
        self._algorithms, self._leeway = list(algorithms), leeway
        self._revoked = revoked
        self._fetcher = None if fetch else Fetcher()
        get = fetch or (self._fetcher.get if self._fetcher else None)
        assert get is not None
        self._keys = IssuerKeys(issuer, get, jwks_uri=jwks_uri, cooldown=cooldown)
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """Returns what a good token says; TokenRefusedError says why another is not taken."""
        claims = await self._check(token)
        if self._revoked is not None and await self._ask_revoked(self._revoked, claims):
            raise TokenRefusedError(Refusal.REVOKED)
        return claims

    async def close(self) -> None:
        """Closes the connections to the issuer."""
        if self._fetcher is not None:
            await self._fetcher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _check(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN:
            raise TokenRefusedError(Refusal.MALFORMED)
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError, TypeError):
            raise TokenRefusedError(Refusal.MALFORMED) from None
        if (refusal := check_header(header, self._algorithms)) is not None:
            raise TokenRefusedError(refusal)
        try:
            key = await self._keys.find(header.get("kid"), time.monotonic())
        except KeysUnavailableError:
            raise TokenRefusedError(Refusal.UNAVAILABLE) from None
        if key is None:
            raise TokenRefusedError(Refusal.UNKNOWN_KEY)
        try:
            read = jwt.decode(token, key, self._algorithms)
        except (JoseError, ValueError, TypeError):
            raise TokenRefusedError(Refusal.SIGNATURE) from None
        outcome = check_claims(
            read.claims, issuer=self._issuer, audience=self._audience, now=self._clock(), leeway=self._leeway
        )
        if isinstance(outcome, Refusal):
            raise TokenRefusedError(outcome)
        return outcome

    @staticmethod
    async def _ask_revoked(revoked: Revoked, claims: Claims) -> bool:
        """Asks; a list that cannot be read is no permission."""
        try:
            return await revoked(claims)
        except Exception as error:
            raise TokenRefusedError(Refusal.UNAVAILABLE) from error
