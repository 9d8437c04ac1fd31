"""`TokenVerifier`: the whole check of an access token, as a backend service needs it."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from joserfc.jwk import Key

from .binding import Binding, Dpop, check_algorithms
from .claims import (
    ALGORITHMS,
    RFC9068,
    Claims,
    Profile,
    Refusal,
    TokenRefusedError,
    check_claims,
    check_header,
    credentials,
)
from .fetch import Fetcher
from .jws import is_signed, read_parts, read_payload
from .keys import FetchJson, IssuerKeys, KeysUnavailableError
from .request_parts import RequestParts
from .revocation import Revocations
from .seen import Seen, SeenTokens

_log = logging.getLogger("bff.verify")


class TokenVerifier:
    """Checks access tokens of one issuer for one audience.

    Args:
        issuer: the identifier, to the letter.
        audience: the name of this service.
        profile: the kind of tokens: RFC 9068's, or `PLAIN_JWT` for an issuer that does not mark them.
        algorithms: the algorithms that may sign; never `none`, never an HMAC.
        leeway: seconds by which clocks may differ.
        revocations: asked last, each time, for a token that is otherwise good.
        unknown: the outcome if one of them cannot be asked: the token is refused (503), or accepted.
        jwks_uri: the address of the keys, if the issuer's metadata need not be asked.
        cooldown: seconds between two fetches of keys that tokens with unknown keys can cause.
        fresh: seconds after which the keys are fetched again.
        stale: seconds for which keys at hand serve while the issuer cannot be reached.
        remembered: the number of good tokens whose signature is checked once and remembered; 0: none.
        ca_file: a PEM file of the authorities that the issuer's certificate is checked against, in place of
            the public ones.
        dpop: how proofs of possession are checked (RFC 9449).
        certificate_header: the field in which a reverse proxy tells the client's certificate (RFC 8705), such
            as "Client-Cert"; it must drop the client's own. None: no header is believed.
        require_binding: True refuses tokens that are bound to no key and no certificate.
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
        dpop: Dpop | None = None,
        certificate_header: str | None = None,
        require_binding: bool = False,
        fetch: FetchJson | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_algorithms(algorithms)
        self._issuer, self._audience, self._profile = issuer, audience, profile
        self._algorithms, self._leeway = tuple(algorithms), leeway
        self._binding = Binding(dpop or Dpop(), certificate_header, required=require_binding, clock=clock)
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
        """Returns what a good bearer token says; TokenRefusedError says why another is not taken.

        A token that is bound to a key or certificate is refused: `verify_request` sees the proof for it.

        `scope`: the scope that it needs.
        """
        claims = await self._good(token)
        self._binding.check_unbound(claims)
        await self._judge(token, claims, scope)
        return claims

    async def verify_request(self, request: RequestParts, scope: Collection[str] = ()) -> Claims:
        """Returns what the token of a request says, as `verify`; with its proof where the token is bound.

        `Authorization: DPoP` takes a proof by the key of the token (RFC 9449 7.1), a token that is bound to a
        certificate that certificate (RFC 8705 3). A bound token that comes without is refused. Where the
        claims have a `dpop_nonce`, the answer should carry it in `DPoP-Nonce`.
        """
        scheme, token = credentials(request.values("authorization"))
        try:
            claims = await self._good(token)
            proof = self._binding.check(request, scheme, token, claims)
            await self._judge(token, claims, scope)
            await self._binding.use_up(proof)
        except TokenRefusedError as error:
            told = self._binding.challenge(scheme, error.refusal)
            raise TokenRefusedError(error.refusal, error.scope, told) from None
        newer = self._binding.newer_nonce(proof)
        return claims if newer is None else replace(claims, dpop_nonce=newer)

    async def close(self) -> None:
        """Closes the connections, those of the revocation lists included."""
        await self._keys.close()
        await self._binding.close()
        if self._fetcher is not None:
            await self._fetcher.close()
        for revocations in self._revocations:
            await revocations.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _good(self, token: str) -> Claims:
        """The claims of a token that is signed, for this service, and in its time."""
        seen = self._seen.get(token, self._clock())
        if seen is not None and self._keys.vouch(seen.kid, seen.key, time.monotonic()):
            return seen.claims
        return await self._check(token)

    async def _judge(self, token: str, claims: Claims, scope: Collection[str]) -> None:
        for revocations in self._revocations:
            if await self._is_revoked(revocations, token, claims):
                self._seen.forget(token)
                raise TokenRefusedError(Refusal.REVOKED)
        if not claims.scope.issuperset(scope):
            raise TokenRefusedError(Refusal.SCOPE, scope)

    async def _check(self, token: str) -> Claims:
        read = read_parts(token)
        if read is None:
            raise TokenRefusedError(Refusal.MALFORMED)
        parts, header = read
        if (refusal := check_header(header, self._algorithms, self._profile)) is not None:
            raise TokenRefusedError(refusal)
        kid = header.get("kid")
        key = await self._key(kid)
        if not is_signed(parts, key, header["alg"]):
            raise TokenRefusedError(Refusal.SIGNATURE)
        payload = read_payload(parts)
        if payload is None:
            raise TokenRefusedError(Refusal.MALFORMED)
        outcome = check_claims(
            payload,
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
        """Asks the lists; one that cannot be read refuses the token, unless `unknown` accepts it."""
        try:
            return await revocations.is_revoked(token, claims)
        except Exception as error:
            _log.warning("revocations_unknown: %s; the token is %sed", type(error).__name__, self._unknown)
            if self._unknown == "accept":
                return False
            raise TokenRefusedError(Refusal.UNAVAILABLE) from error
