"""The interface of a scenario."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.environment import Ground
from tests.tools.bench.figures import Finding

MIB = 1024 * 1024
GIB = 1024 * MIB
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a scenario."""

    deletions: int
    transfer: int  # bytes
    streams: int
    sessions: int
    asked: int  # sessions that are asked for where they are more than the near cache holds
    rounds: int
    seconds: float


FULL = Scale(deletions=20, transfer=GIB, streams=5000, sessions=1_000_000, asked=50_000, rounds=5, seconds=4)
QUICK = Scale(
    deletions=5, transfer=GIB // 4, streams=1000, sessions=50_000, asked=10_000, rounds=3, seconds=1
)


class Scenario(ABC):
    """A measurement. Everything that it starts is ended with the ground.

    Attributes:
        name: what `--only` and the tables call it.
        what: what it is, in a line.
        ours: the proxies that it needs, known early because the issuer has to know where they are.
    """

    name: str
    what: str
    ours: Sequence[Ours]

    @abstractmethod
    def run(self, ground: Ground, scale: Scale, tell: Tell) -> list[Finding]:
        """Does it, and says what was found."""
