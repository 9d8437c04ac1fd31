"""The scenarios beside throughput: one file each."""

from tests.tools.bench.scenarios.base import FULL, QUICK, Scale, Scenario
from tests.tools.bench.scenarios.deletion import Deletion
from tests.tools.bench.scenarios.events import Events
from tests.tools.bench.scenarios.forward_auth import ForwardAuth
from tests.tools.bench.scenarios.million import Million
from tests.tools.bench.scenarios.streaming import Streaming
from tests.tools.bench.scenarios.verify import Verification

__all__ = ["FULL", "QUICK", "Scale", "Scenario", "scenarios"]


def scenarios() -> list[Scenario]:
    """All scenarios, in the order in which they run; nothing is started yet."""
    return [Deletion(), Streaming(), ForwardAuth(), Events(), Million(), Verification()]
