"""The check that whoever sends a token is the one that it is bound to (RFC 9449, RFC 8705).

Rule 1: a bound token without its proof is refused, whatever the settings say.
Rule 2: a proof is noted as used last, when all else is good: a call that was refused for another reason may
be repeated with it.
Rule 3: a memory of used proofs that cannot be asked refuses the call (503).
"""

import hmac
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from .claims import Challenge, Claims, Refusal, TokenRefusedError
from .confirmation import read_certificate, thumbprint_of
from .dpop import LEEWAY, MAX_AGE, PROOF_ALGORITHMS, Proof, check_proof
from .http_url import normal_url
from .nonces import Nonces
from .replays import ProofMemory, UsedProofs
from .request_parts import RequestParts

Scheme = Literal["Bearer", "DPoP"]
_log = logging.getLogger("bff.verify")


def check_algorithms(algorithms: Collection[str]) -> None:
    """Raises ValueError for a list that is empty, or names what signs without a public key."""
    if not algorithms or any(name.lower() == "none" or name.startswith("HS") for name in algorithms):
        raise ValueError("only algorithms with a public key can be allowed")


@dataclass(frozen=True, slots=True)
class Dpop:
    """Options of the check of DPoP proofs (RFC 9449).

    Attributes:
        algorithms: those that may sign a proof.
        max_age: seconds after its `iat` for which a proof is taken.
        leeway: seconds by which the client's clock may be ahead or behind.
        base_url: scheme, host and, if there is one, the prefix under which clients reach this service, where
            it does not see them itself; None: as the request says.
        used: the memory of used proofs; None: one of this process. Processes that share the work share a
            `RedisProofs`.
        nonces: the nonces that a proof must repeat; None: none is asked for.
    """

    algorithms: tuple[str, ...] = PROOF_ALGORITHMS
    max_age: float = MAX_AGE
    leeway: float = LEEWAY
    base_url: str | None = None
    used: UsedProofs | None = None
    nonces: Nonces | None = None

    def __post_init__(self) -> None:
        check_algorithms(self.algorithms)
        if self.base_url is not None and normal_url(self.base_url) is None:
            raise ValueError("base_url is no http(s) URL")


class Binding:
    """The check of bound tokens for one verifier. `clock` gives seconds since 1970."""

    def __init__(
        self, dpop: Dpop, certificate_header: str | None, *, required: bool, clock: Callable[[], float]
    ) -> None:
        self._dpop, self._required, self._clock = dpop, required, clock
        self._certificate_header = certificate_header
        self._used = dpop.used or ProofMemory()

    def check_unbound(self, claims: Claims) -> None:
        """Refuses a token that came without anything beside it, and is bound or should be."""
        if claims.confirmation:
            raise TokenRefusedError(Refusal.BOUND)
        if self._required:
            raise TokenRefusedError(Refusal.UNBOUND)

    def check(self, request: RequestParts, scheme: Scheme, token: str, claims: Claims) -> Proof | None:
        """Refuses a request that lacks what its token is bound to; returns the proof that it shows."""
        bound_to = claims.confirmation
        if not bound_to and (self._required or scheme == "DPoP"):
            raise TokenRefusedError(Refusal.UNBOUND)
        if bound_to.x5t is not None and not self._shows_certificate(request, bound_to.x5t):
            raise TokenRefusedError(Refusal.CERTIFICATE)
        if scheme == "DPoP":
            if bound_to.jkt is None:
                raise TokenRefusedError(Refusal.UNBOUND)
            return self._proof(request, token, bound_to.jkt)
        if bound_to.jkt is not None:
            raise TokenRefusedError(Refusal.BOUND)
        return None

    def newer_nonce(self, proof: Proof | None) -> str | None:
        """Returns the nonce for the next proof, where this one has another (RFC 9449 8.2); else None."""
        nonces = self._dpop.nonces
        current = None if proof is None or nonces is None else nonces.current(self._clock())
        return current if proof is not None and proof.nonce != current else None

    async def use_up(self, proof: Proof | None) -> None:
        """Notes a proof as used; refuses one that was used before."""
        if proof is None:
            return
        ends = proof.iat + self._dpop.max_age + self._dpop.leeway
        try:
            first = await self._used.first_use(proof, ends, self._clock())
        except Exception as error:
            _log.warning("proofs_unknown: %s; the call is refused", type(error).__name__)
            raise TokenRefusedError(Refusal.UNAVAILABLE) from error
        if not first:
            raise TokenRefusedError(Refusal.PROOF_REPLAYED)

    def challenge(self, scheme: Scheme, refusal: Refusal) -> Challenge:
        """Returns the schemes that a client is told of: the one that it used, and one that would do."""
        nonces = self._dpop.nonces
        wants_nonce = nonces is not None and refusal is Refusal.PROOF_NONCE
        nonce = nonces.current(self._clock()) if nonces is not None and wants_nonce else None
        if scheme == "DPoP":
            return Challenge(("DPoP",), self._dpop.algorithms, nonce)
        with_dpop = refusal in (Refusal.BOUND, Refusal.UNBOUND)
        return Challenge(("Bearer", "DPoP"), self._dpop.algorithms) if with_dpop else Challenge()

    async def close(self) -> None:
        """Closes the memory of used proofs."""
        await self._used.close()

    def _proof(self, request: RequestParts, token: str, jkt: str) -> Proof:
        proofs = request.values("dpop")
        if not proofs:
            raise TokenRefusedError(Refusal.PROOF_MISSING)
        if len(proofs) > 1:
            raise TokenRefusedError(Refusal.PROOF_DOUBLED)
        dpop, now = self._dpop, self._clock()
        found = check_proof(
            proofs[0],
            method=request.method,
            url=self._url(request),
            now=now,
            access_token=token,
            algorithms=dpop.algorithms,
            max_age=dpop.max_age,
            leeway=dpop.leeway,
        )
        if isinstance(found, Refusal):
            raise TokenRefusedError(found)
        if not hmac.compare_digest(found.jkt, jkt):
            raise TokenRefusedError(Refusal.PROOF_BINDING)
        if dpop.nonces is not None and not dpop.nonces.is_good(found.nonce, now):
            raise TokenRefusedError(Refusal.PROOF_NONCE)
        return found

    def _url(self, request: RequestParts) -> str:
        """The URL that the proof has to name."""
        if self._dpop.base_url is None:
            return request.url
        path = request.url.partition("://")[2].partition("/")[2]
        return f"{self._dpop.base_url.rstrip('/')}/{path}"

    def _shows_certificate(self, request: RequestParts, x5t: str) -> bool:
        shown: list[bytes | str] = [] if request.certificate is None else [request.certificate]
        if not shown and self._certificate_header is not None:
            shown += request.values(self._certificate_header)
        certificate = read_certificate(shown[0]) if len(shown) == 1 else None
        return certificate is not None and hmac.compare_digest(thumbprint_of(certificate), x5t)
