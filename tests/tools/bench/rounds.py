"""The rounds: every contender in turn with every kind of load, several times over.

Rule 1: contenders take turns within a round, so that what else the machine does hits all of them alike.
Rule 2: figures are compared within a round only (`figures.py`).
Rule 3: a run counts only if a real 200 with the right body came before it and after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.tools.bench import machine
from tests.tools.bench.contenders import Contender
from tests.tools.bench.environment import JSON, LARGE, POST, Ground
from tests.tools.bench.load import Figures, LoadError, Request, check_answer, run
from tests.tools.bench.programs import NotStartedError

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of load."""

    name: str
    what: str
    request: Request
    connections: int


WORKLOADS = (
    Workload("json-1", "1.1 kB JSON, one connection", JSON, 1),
    Workload("json-32", "1.1 kB JSON, 32 connections", JSON, 32),
    Workload("json-256", "1.1 kB JSON, 256 connections", JSON, 256),
    Workload("large-32", "100 kB, 32 connections", LARGE, 32),
    Workload("post-32", "POST of 10 kB, 32 connections", POST, 32),
)
_WARM_UP = WORKLOADS[1]


@dataclass
class Results:
    """Good runs by workload and contender, one for each round, None where a run failed; what went wrong."""

    runs: dict[tuple[str, str], list[Figures | None]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def note(self, workload: str, contender: str, figures: Figures | None) -> None:
        """Takes a run in."""
        self.runs.setdefault((workload, contender), []).append(figures)


def start_all(
    ground: Ground, contenders: Sequence[Contender], results: Results, tell: Tell
) -> list[Contender]:
    """Starts the contenders, and returns those that answer; the others are told of."""
    running = []
    for contender in contenders:
        tell(f"starting {contender.name}")
        try:
            contender.start(ground)
            _one(ground, contender, _WARM_UP, 1)
        except (NotStartedError, LoadError) as failure:
            results.problems.append(f"{contender.name} takes no part: {failure}")
        else:
            running.append(contender)
    return running


def measure(
    ground: Ground,
    contenders: Sequence[Contender],
    workloads: Sequence[Workload],
    *,
    rounds: int,
    seconds: float,
    results: Results,
    tell: Tell,
) -> None:
    """Runs all rounds, and fills `results`."""
    for number in range(1, rounds + 1):
        for workload in workloads:
            for contender in contenders:
                tell(f"round {number} of {rounds}: {workload.what}: {contender.name}")
                try:
                    figures = _one(ground, contender, workload, seconds)
                except LoadError as failure:
                    results.problems.append(f"{contender.name}, {workload.name}, round {number}: {failure}")
                    figures = None
                results.note(workload.name, contender.name, figures)


def _one(ground: Ground, contender: Contender, workload: Workload, seconds: float) -> Figures:
    request, headers, group = workload.request, contender.headers(), contender.group
    check_answer(contender.port, request, headers)
    before = machine.group_cpu(group) if group is not None else 0.0
    figures = run(
        contender.port,
        request,
        headers,
        connections=workload.connections,
        seconds=seconds,
        cores=ground.cores.rest,
        folder=ground.folder,
    )
    used = machine.group_cpu(group) - before if group is not None else 0.0
    check_answer(contender.port, request, headers)
    if not figures.whole(request.answer):
        raise LoadError(f"{figures.size} bytes are too few for {figures.requests} whole answers")
    if contender.program is not None:
        contender.program.forget_log()
    return replace(figures, cpu=used / figures.seconds)
