"""Token rotation: once per expired token, for everyone who waits, and never lost."""

from bff.refresh.outcome import Deferred, Outcome, Over, Rotated, UserNeeded
from bff.refresh.refresher import Refresher

__all__ = ["Deferred", "Outcome", "Over", "Refresher", "Rotated", "UserNeeded"]
