"""The coordinator of rotations with a span for each rotation, and one for each request that waits for one."""

from collections.abc import Callable
from functools import partial
from typing import Any

from bff.observe.tracing import Spans
from bff.refresh.coordinator import Flight, RefreshCoordinator
from bff.refresh.outcome import Deferred, Outcome, Over, Rotated, UserNeeded
from bff.session.rotation_policy import Cause
from bff.session.sessions import Found

_CAUSE, _OUTCOME = "bff.refresh.cause", "bff.refresh.outcome"


class TracedRefreshCoordinator(RefreshCoordinator):
    """A coordinator whose rotations are spans.

    A rotation is in the trace of the request that began it; others that wait for it have a span of the wait.
    """

    def __init__(self, *, spans: Spans, **parts: Any) -> None:
        super().__init__(**parts)
        self._spans = spans

    async def rotate(self, found: Found, cause: Cause) -> Outcome:
        """Rotates, or waits for the rotation that is under way."""
        with self._spans.part("wait for refresh", {_CAUSE: cause}) as span:
            outcome = await super().rotate(found, cause)
            span.note(_OUTCOME, _word(outcome))
            return outcome

    async def _fly(self, flight: Flight) -> Outcome:
        with self._spans.part("refresh", {_CAUSE: flight.cause}, root=True) as span:
            outcome = await super()._fly(flight)
            span.note(_OUTCOME, _word(outcome))
            if isinstance(outcome, Deferred):
                span.failed(outcome.why)
            return outcome


def coordinator_maker(spans: Spans | None) -> Callable[..., RefreshCoordinator]:
    """Returns the factory of the coordinator, which traces where there are `spans`."""
    return RefreshCoordinator if spans is None else partial(TracedRefreshCoordinator, spans=spans)


def _word(outcome: Outcome) -> str:
    """The outcome in the words of the metric `bff_refreshes_total`."""
    match outcome:
        case Rotated(here=False) | Over(here=False):
            return "followed"
        case Rotated():
            return "rotated"
        case Over():
            return "ended"
        case UserNeeded() | Deferred():
            return "deferred"
