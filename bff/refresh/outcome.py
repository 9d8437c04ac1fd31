"""The outcomes of a rotation: a closed set."""

from dataclasses import dataclass, field
from typing import Literal

from bff.errors import Problem
from bff.session.model import EndReason, Unproved
from bff.session.sessions import Found

Why = Literal[
    "resting",  # the provider has failed, or this session's token was refused: nothing was tried
    "queued",  # the request has waited long enough; the rotation goes on
    "busy",  # another process has been at it for too long
    "provider_unreachable",  # nothing was sent
    "provider_busy",  # it asks to wait (429)
    "provider_error",  # it has trouble of its own: a 5xx
    "provider_refused",  # it refuses this client
    "grant_refused",  # it refuses this one token for now
    "answer_lost",  # sent, and no usable answer came: the connection broke, or it was no answer
    "answer_late",  # sent, and no answer came for as long as anybody would wait
    "store_unavailable",  # Redis did not answer before anything was sent
    "tokens_lost",  # Redis took the new tokens from nobody for too long
]
"""The reason why a rotation was put off; that of the audit event."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """The session with fresh tokens, from any process; `here`: by this rotation, in this process."""

    found: Found
    here: bool = False


@dataclass(frozen=True, slots=True)
class Over:
    """The session is no more; `here`: this rotation ended it."""

    problem: Problem
    reason: EndReason | Unproved | None
    here: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Deferred:
    """A rotation put off: the provider or the store is out of reach. The session lives on."""

    problem: Problem
    retry_after: float | None = None
    why: Why = "resting"


@dataclass(frozen=True, slots=True)
class UserNeeded:
    """The provider wants to see the user first. The session lives on: its token serves until that ends.

    `here`: by this rotation, in this process; else it was so a moment ago.
    """

    here: bool = field(default=False, compare=False)


Outcome = Rotated | Over | Deferred | UserNeeded
