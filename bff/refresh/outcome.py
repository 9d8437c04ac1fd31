"""What becomes of a rotation: a closed set."""

from dataclasses import dataclass, field
from typing import Literal

from bff.errors import Problem
from bff.session.model import EndReason
from bff.session.sessions import Found

Why = Literal[
    "resting",  # the provider has failed, or this session's token was refused: nothing was tried
    "queued",  # the request has waited long enough; the rotation goes on
    "busy",  # another process has been at it for too long
    "provider_unreachable",  # nothing was sent
    "provider_refused",  # it asks to wait, or refuses this client
    "grant_refused",  # it refuses this one token for now
    "answer_lost",  # sent, and no usable answer came
    "store_unavailable",  # Redis did not answer before anything was sent
    "tokens_lost",  # Redis took the new tokens from nobody for too long
]
"""Why a rotation was put off; the reason of the audit event."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """The session with fresh tokens, whoever fetched them; `here`: by this rotation, in this process."""

    found: Found
    here: bool = False


@dataclass(frozen=True, slots=True)
class Over:
    """The session is no more; `here`: this rotation ended it."""

    problem: Problem
    reason: EndReason | None
    here: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: the provider or the store is out of reach. The session lives on."""

    problem: Problem
    retry_after: float | None = None
    why: Why = "resting"


Outcome = Rotated | Over | Deferred
