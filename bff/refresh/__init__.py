"""Token rotation: once per expired token, for everyone who waits, and never lost."""

from bff.refresh.outcome import Deferred, Outcome, Over, Rotated
from bff.refresh.refresher import Refresher

__all__ = ["Deferred", "Outcome", "Over", "Refresher", "Rotated"]
