"""The figures of the runs: medians, spread, and ratios within a round. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.tools.bench.load import Figures

Runs = Mapping[tuple[str, str], Sequence[Figures | None]]
REFERENCES = ("nginx", "uvicorn", "naive")
"""Whom everybody is held against in the tables."""


@dataclass(frozen=True, slots=True)
class Row:
    """A contender under one workload.

    Latencies in milliseconds; `spread` is half the range by the median; `cpu` the contender's share of its
    core, `cost` its CPU time for a request in microseconds, which a busy machine distorts least.
    """

    workload: str
    contender: str
    rates: tuple[float, ...]
    rate: float
    spread: float
    p50: float
    p99: float
    cpu: float
    cost: float
    failed: int
    refused: int
    ratios: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise or fact: what was found, and, if something was promised, whether that was kept."""

    part: str
    what: str
    found: str
    wanted: str = ""
    kept: bool | None = None


def rows(runs: Runs) -> list[Row]:
    """One row for each workload and contender that has at least one good run."""
    made = []
    for (workload, contender), all_runs in runs.items():
        good = [figures for figures in all_runs if figures is not None]
        if not good:
            continue
        rates = tuple(figures.rate for figures in good)
        ratios = {name: ratio(runs, workload, contender, name) for name in REFERENCES if name != contender}
        made.append(
            Row(
                workload=workload,
                contender=contender,
                rates=rates,
                rate=statistics.median(rates),
                spread=spread(rates),
                p50=statistics.median(figures.p50 for figures in good),
                p99=statistics.median(figures.p99 for figures in good),
                cpu=statistics.median(figures.cpu for figures in good),
                cost=statistics.median(figures.cost for figures in good),
                failed=sum(figures.failed for figures in good),
                refused=sum(figures.refused for figures in good),
                ratios={name: found for name, found in ratios.items() if found is not None},
            )
        )
    return made


def spread(values: Sequence[float]) -> float:
    """Half of the range, as a share of the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def ratio(runs: Runs, workload: str, one: str, other: str) -> float | None:
    """The median over the rounds of one's rate by the other's in the same round."""
    pairs = zip(runs.get((workload, one), ()), runs.get((workload, other), ()), strict=False)
    found = [a.rate / b.rate for a, b in pairs if a is not None and b is not None and b.rate]
    return statistics.median(found) if found else None


def cost_ratio(runs: Runs, one: tuple[str, str], other: tuple[str, str]) -> float | None:
    """The median over the rounds of one's CPU time for a request by the other's in the same round.

    Each is a workload and a contender.
    """
    pairs = zip(runs.get(one, ()), runs.get(other, ()), strict=False)
    found = [a.cost / b.cost for a, b in pairs if a is not None and b is not None and b.cost]
    return statistics.median(found) if found else None


def added_latency(runs: Runs, workload: str, one: str) -> float | None:
    """The median over the rounds of what one's median latency adds to a direct call's, in milliseconds."""
    pairs = zip(runs.get((workload, one), ()), runs.get((workload, "direct"), ()), strict=False)
    found = [a.p50 - b.p50 for a, b in pairs if a is not None and b is not None]
    return statistics.median(found) if found else None
