"""`TokenVerifier`: the whole check of an access token, as a backend service needs it."""

import json
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact

from .claims import (
    ALGORITHMS,
    MAX_TOKEN,
    RFC9068,
    Claims,
    Profile,
    Refusal,
    TokenRefusedError,
    check_claims,
    check_header,
)
from .fetch import Fetcher
from .keys import FetchJson, IssuerKeys, KeysUnavailableError
from .revocation import Revocations
from .seen import Seen, SeenTokens

_log = logging.getLogger("bff.verify")


class TokenVerifier:
    """Checks access tokens of one issuer for one audience.

    Args:
        issuer: the identifier, to the letter.
        audience: what this service calls itself.
        profile: what kind of tokens: RFC 9068's, or `PLAIN_JWT` for an issuer that does not mark them.
        algorithms: those that may sign; never `none`, never an HMAC.
        leeway: seconds by which clocks may differ.
        revocations: asked last, each time, for a token that is otherwise good.
        unknown: the outcome for a token where one of them cannot be asked: it is refused (503), or accepted.
        jwks_uri: where the keys are, if the issuer's metadata need not be asked.
        cooldown: seconds between two fetches of keys that tokens with unknown keys can cause.
        fresh: seconds after which the keys are fetched again.
        stale: seconds for which keys at hand serve while the issuer cannot be reached.
        remembered: how many good tokens are remembered, so that their signature is checked once; 0: none.
        ca_file: a PEM file of the authorities that the issuer's certificate is checked against, in place of
            the public ones.
        fetch: gets a JSON object; None uses an HTTP client of its own, which `close` closes.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        profile: Profile = RFC9068,
        algorithms: Collection[str] = ALGORITHMS,
        leeway: float = 5.0,
        revocations: Sequence[Revocations] = (),
        unknown: Literal["refuse", "accept"] = "refuse",
        jwks_uri: str | None = None,
        cooldown: float = 10.0,
        fresh: float = 600.0,
        stale: float = 24 * 3600.0,
        remembered: int = 10_000,
        ca_file: str | Path | None = None,
        fetch: FetchJson | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not algorithms or any(name.lower() == "none" or name.startswith("HS") for name in algorithms):
            raise ValueError("only algorithms with a public key can be allowed")
        self._issuer, self._audience, self._profile = issuer, audience, profile
        self._algorithms, self._leeway = tuple(algorithms), leeway
        self._registries = {name: _registry(name) for name in algorithms}
        self._revocations, self._unknown = tuple(revocations), unknown
        self._fetcher = None if fetch else Fetcher(ca_file=ca_file)
        get = fetch or (self._fetcher.get if self._fetcher else None)
        assert get is not None
        self._keys = IssuerKeys(
            issuer,
            get,
            jwks_uri=jwks_uri,
            cooldown=cooldown,
            fresh=fresh,
            stale=stale,
        )
        self._seen = SeenTokens(remembered)
        self._clock = clock

    async def verify(self, token: str, scope: Collection[str] = ()) -> Claims:
        """Returns what a good token says; TokenRefusedError says why another is not taken.

        `scope`: what it has to be good for.
        """
        seen = self._seen.get(token, self._clock())
        if seen is not None and self._keys.vouch(seen.kid, seen.key, time.monotonic()):
            claims = seen.claims
        else:
            claims = await self._check(token)
        for revocations in self._revocations:
            if await self._is_revoked(revocations, token, claims):
                self._seen.forget(token)
                raise TokenRefusedError(Refusal.REVOKED)
        if not claims.scope.issuperset(scope):
            raise TokenRefusedError(Refusal.SCOPE, scope)
        return claims

    async def close(self) -> None:
        """Closes the connections, those of the revocation lists included."""
        await self._keys.close()
        if self._fetcher is not None:
            await self._fetcher.close()
        for revocations in self._revocations:
            await revocations.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _check(self, token: str) -> Claims:
        parsed, header = _parsed(token)
        if (refusal := check_header(header, self._algorithms, self._profile)) is not None:
            raise TokenRefusedError(refusal)
        kid = header.get("kid")
        key = await self._key(kid)
        if not _is_signed(parsed, key, self._registries[header["alg"]]):
            raise TokenRefusedError(Refusal.SIGNATURE)
        outcome = check_claims(
            _payload(parsed),
            issuer=self._issuer,
            audience=self._audience,
            now=self._clock(),
            leeway=self._leeway,
            profile=self._profile,
        )
        if isinstance(outcome, Refusal):
            raise TokenRefusedError(outcome)
        self._seen.keep(token, Seen(outcome, kid, key, outcome.exp + self._leeway))
        return outcome

    async def _key(self, kid: str | None) -> Key:
        try:
            key = await self._keys.find(kid, time.monotonic())
        except KeysUnavailableError:
            raise TokenRefusedError(Refusal.UNAVAILABLE) from None
        if key is None:
            raise TokenRefusedError(Refusal.UNKNOWN_KEY)
        return key

    async def _is_revoked(self, revocations: Revocations, token: str, claims: Claims) -> bool:
        """Asks; a list that cannot be read is no permission, unless the service has said that it is."""
        try:
            return await revocations.is_revoked(token, claims)
        except Exception as error:
            _log.warning("revocations_unknown: %s; the token is %sed", type(error).__name__, self._unknown)
            if self._unknown == "accept":
                return False
            raise TokenRefusedError(Refusal.UNAVAILABLE) from error


def _registry(algorithm: str) -> JWSRegistry:
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = MAX_TOKEN
    registry.max_payload_length = MAX_TOKEN
    return registry


_READ_ONLY = _registry("ES256")  # only reads the parts; what may sign is decided after the header was judged


def _parsed(token: str) -> tuple[CompactSignature, dict[str, Any]]:
    if len(token) > MAX_TOKEN:
        raise TokenRefusedError(Refusal.MALFORMED)
    try:
        parsed = extract_compact(token.encode(), registry=_READ_ONLY)
        header: Any = parsed.headers()
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise TokenRefusedError(Refusal.MALFORMED) from None
    if not isinstance(header, dict):
        raise TokenRefusedError(Refusal.MALFORMED)
    return parsed, header


def _is_signed(parsed: CompactSignature, key: Key, registry: JWSRegistry) -> bool:
    try:
        return validate_compact(parsed, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        return False  # a bad signature, or a key of another type, curve or purpose


def _payload(parsed: CompactSignature) -> dict[str, Any]:
    try:
        payload: Any = json.loads(parsed.payload or b"", parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise TokenRefusedError(Refusal.MALFORMED) from None
    if not isinstance(payload, dict):
        raise TokenRefusedError(Refusal.MALFORMED)
    return payload


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a number")
    return value
