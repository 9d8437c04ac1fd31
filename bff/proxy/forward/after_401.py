"""The cure of a backend's 401: newer tokens, a proof with the backend's nonce, or another sign-in.

Rule 1: a 401 for a token's sake and one for the sake of a proof's nonce are answered by one repeat each.
Rule 2: a refused proof says nothing about the token: the tokens are not rotated for it (RFC 9449 9).
Rule 3: a sign-in that a backend demands is asked for, and nothing is rotated: newer tokens of the same
sign-in would not do (RFC 9470 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from bff.credentials.credential import (
    Anonymous,
    Mode,
    Refused,
    Signed,
    TokenOnly,
    proof_key_of,
    says_invalid_token,
)
from bff.errors import Problem
from bff.policy.fields import Header
from bff.policy.step_up import Demand, challenged
from bff.proxy.forward.destination import Destination
from bff.proxy.forward.forwarding_context import ForwardingContext
from bff.session.rotation_policy import PassOn

_UNAUTHORIZED = 401


def marks(sent: Signed | Anonymous, *, not_replayed: bool = False) -> list[Header]:
    """Returns the fields of a 401 that is passed on: it is the backend's; newer tokens wait for a repeat."""
    if not isinstance(sent, Signed | TokenOnly):
        return []
    marked: list[Header] = [(b"bff-upstream", b"1")]
    if not_replayed:
        marked.append((b"bff-retry", b"1"))
    return marked


@dataclass(frozen=True, slots=True)
class ProveAgain:
    """A cure: the same token, with a proof that holds the nonce that the backend has just given."""

    sent: Signed | TokenOnly


@dataclass(frozen=True, slots=True)
class StepUp:
    """A cure: the sign-in that the backend demands, unless the present one is that already."""

    sent: Signed
    demand: Demand


@dataclass(frozen=True, slots=True)
class Renew:
    """A cure: another token. `invalid_token` is what the backend said of the one that was sent."""

    sent: Signed | TokenOnly
    invalid_token: bool


Cure = ProveAgain | StepUp | Renew


@dataclass(slots=True)
class Healing:
    """The cures of one call's 401s, each of which is tried once."""

    context: ForwardingContext
    destination: Destination
    tried: set[type[Cure]] = field(default_factory=set)

    def cure_of(self, status: int, headers: Sequence[Header], sent: Signed | Anonymous) -> Cure | None:
        """Returns the cure of an answer to a call with this credential; None where it is passed on.

        The nonce of any answer is kept for the next proof.
        """
        proofs = self.destination.identity.proofs
        about_proof = None if proofs is None else proofs.answered(status, headers)
        if status != _UNAUTHORIZED or not isinstance(sent, Signed | TokenOnly):
            return None
        if about_proof is not None and proof_key_of(sent) is not None:
            return ProveAgain(sent) if about_proof == "repeat" and ProveAgain not in self.tried else None
        demand = challenged(headers) if isinstance(sent, Signed) else None
        if isinstance(sent, Signed) and demand and demand.can_be_asked(self.context.login_params):
            return StepUp(sent, demand)
        if not self.destination.rules.bearer or Renew in self.tried:
            return None
        return Renew(sent, says_invalid_token(headers))

    async def heal(self, cure: Cure, mode: Mode) -> Signed | TokenOnly | PassOn | Refused:
        """Returns the credential to repeat the call with; else passes the 401 on, or refuses the call."""
        match cure:
            case ProveAgain(sent):
                return sent
            case StepUp(sent, demand):
                met = await self.destination.credentials.session.meets(sent, demand)
                return PassOn() if met else Refused(Problem.STEP_UP_REQUIRED, demand=demand)
            case Renew(sent, invalid_token):
                return await self.destination.credentials.renew(sent, invalid_token=invalid_token, mode=mode)
            case other:
                assert_never(other)

    def repeated(self, cure: Cure) -> None:
        """Notes that the call is sent again with this cure."""
        self.tried.add(type(cure))
        self.context.metrics.retried(self.destination.rules.route.decode("ascii"))
