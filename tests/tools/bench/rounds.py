"""The rounds: every contender in turn with every kind of load, several times over.

Rule 1: contenders take turns within a round, so that what else the machine does hits all of them alike.
Rule 2: figures are compared within a round only (`figures.py`).
Rule 3: a run counts only if a real 200 with the right body came before it and after it.
Rule 4: a run of many users comes after an uncounted pass over all of their requests, for every contender:
what is measured is a proxy that has seen its users before. They were seen last at moments that are evenly
spread over the interval in which a use is noted once (`uses.py`): each run has its share of such notes.
Rule 5: a load of more users than the near cache holds has rounds of its own, behind all others. The cache
would be full of its users, and take those of the next round in too slowly for Rule 4.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tests.tools.bench import machine
from tests.tools.bench.contenders import Contender
from tests.tools.bench.contenders.plain import start_front
from tests.tools.bench.environment import JSON, LARGE, POST, Ground
from tests.tools.bench.load import Figures, LoadError, Request, check_answer, run
from tests.tools.bench.programs import NotStartedError
from tests.tools.bench.traffic import MORE_USERS, USERS, Kind, passes, traffic_script

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of load.

    `traffic` says which requests make it up; without it that one request is sent over and over. `users` says
    how many differ.
    """

    name: str
    what: str
    request: Request
    connections: int
    traffic: Kind | None = None
    users: int = USERS


WORKLOADS = (
    Workload("mixed", "20,000 users and lines, 13 browser fields, 32 connections", JSON, 32, "mixed"),
    Workload("behind-nginx", "the same through an nginx, which is not counted", JSON, 32, "forwarded"),
    Workload("as-forwarded", "the requests as this nginx sends them, without it", JSON, 32, "as-forwarded"),
    Workload(
        "mixed-cold",
        "100,000 users and lines in turn, more than the near cache holds, 32 connections",
        JSON,
        32,
        "mixed",
        MORE_USERS,
    ),
    Workload("repeat", "one user, one request line, 13 browser fields, 32 connections", JSON, 32, "repeat"),
    Workload("json-1", "1.1 kB JSON, one connection", JSON, 1),
    Workload("json-32", "1.1 kB JSON, 32 connections", JSON, 32),
    Workload("json-256", "1.1 kB JSON, 256 connections", JSON, 256),
    Workload("large-32", "100 kB, 32 connections", LARGE, 32),
    Workload("post-32", "POST of 10 kB, 32 connections", POST, 32),
)
_WARM_UP = next(workload for workload in WORKLOADS if workload.name == "json-32")


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
    for number, workload in in_turn(workloads, rounds):
        for contender in contenders:
            tell(f"round {number} of {rounds}: {workload.what}: {contender.name}")
            try:
                figures = _one(ground, contender, workload, seconds)
            except LoadError as failure:
                results.problems.append(f"{contender.name}, {workload.name}, round {number}: {failure}")
                figures = None
            results.note(workload.name, contender.name, figures)


def in_turn(workloads: Sequence[Workload], rounds: int) -> Iterator[tuple[int, Workload]]:
    """Yields the workloads of all rounds, each with its round's number (Rule 5)."""
    for larger in (False, True):
        for number in range(1, rounds + 1):
            for workload in workloads:
                if larger is (workload.users > USERS):
                    yield number, workload


def _one(ground: Ground, contender: Contender, workload: Workload, seconds: float) -> Figures:
    request, headers, group = workload.request, contender.headers(), contender.group
    check_answer(contender.port, request, headers)
    port, script = contender.port, None
    if workload.traffic is not None:
        script = _script(ground, contender, workload.name, workload.traffic, workload.users)
    if workload.traffic == "forwarded":
        port = _front(ground, contender)
    if script is not None:
        if workload.traffic != "repeat":
            contender.spread_uses(ground, workload.users)
        _warm_up(ground, port, workload, script)
    before = machine.group_cpu(group) if group is not None else 0.0
    figures = run(
        port,
        request,
        headers if script is None else {},
        connections=workload.connections,
        seconds=seconds,
        cores=ground.cores.rest,
        folder=ground.folder,
        script=script,
    )
    used = machine.group_cpu(group) - before if group is not None else 0.0
    check_answer(contender.port, request, headers)
    if script is not None and (figures.refused or figures.size < figures.requests * _LEAST_MEAN):
        raise LoadError(
            f"{figures.refused} of {figures.requests} answers were refusals, {figures.size} bytes"
        )
    if script is None and not figures.whole(request.answer):
        raise LoadError(f"{figures.size} bytes are too few for {figures.requests} whole answers")
    if contender.program is not None:
        contender.program.forget_log()
    return replace(figures, cpu=used / figures.seconds)


_LEAST_MEAN = 1000
"""Bytes of an answer that the traffic must come to on average, or answers were cut short."""


_PASSES = 2
"""Passes before a counted run. Before the first one the moments of the last use are written (Rule 4), which
takes the sessions out of the near cache; it brings them back, and the second one uses them again."""
_LONGEST_PASS = 60.0
"""Seconds after which a slow contender has been warmed up."""


def _warm_up(ground: Ground, port: int, workload: Workload, script: str) -> None:
    """The uncounted pass; `repeat` is of one user, and is soon over."""
    over = ground.folder / "pass.over"
    over.unlink(missing_ok=True)
    run(
        port,
        workload.request,
        {},
        connections=workload.connections,
        seconds=_LONGEST_PASS,
        cores=ground.cores.rest,
        folder=ground.folder,
        script=passes(script, _PASSES, over),
        over=over,
    )


def _script(ground: Ground, contender: Contender, name: str, traffic: Kind, count: int) -> str:
    """The requests of this workload for this contender, made anew where its sessions are."""
    users = contender.users_at_hand(ground, count)
    known = contender.scripts.get(name)
    if known is None or known[0] is not users:
        fields = contender.browser()
        browsers = [{**fields, **session} for session in users]
        script = traffic_script(ground.folder, f"{contender.name}.{name}", browsers, traffic, count)
        known = contender.scripts[name] = (users, script)
    return known[1]


def _front(ground: Ground, contender: Contender) -> int:
    """The port of an nginx before the contender, on the load generator's cores."""
    if contender.front is None:
        contender.front = start_front(ground, contender.name, contender.port)
    return contender.front
