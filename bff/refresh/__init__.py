"""Token rotation: once per expired token, for everyone who waits, and never lost."""

from bff.refresh.by_provider import RefreshByProvider, Refresher
from bff.refresh.coordinator import RefreshCoordinator
from bff.refresh.outcome import Deferred, Outcome, Over, Rotated, UserNeeded

__all__ = [
    "Deferred",
    "Outcome",
    "Over",
    "RefreshByProvider",
    "RefreshCoordinator",
    "Refresher",
    "Rotated",
    "UserNeeded",
]
