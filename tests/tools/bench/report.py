"""The report at the end of a run."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.tools.bench.figures import REFERENCES, Finding, Row
from tests.tools.bench.rounds import WORKLOADS
from tests.tools.bench.stages import Stage

_PLAIN_WIDTH = 140  # columns of a table that goes to a file or a pipe


@dataclass
class Report:
    """Everything that a run of the bench has found."""

    machine: dict[str, str]
    options: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """Writes all of it as JSON."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")


def console() -> Console:
    """Standard output; plain and wide where it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def show(report: Report, out: Console) -> None:
    """Prints the tables."""
    out.print("  ".join(f"{name}: {value}" for name, value in report.machine.items()), markup=False)
    out.print("  ".join(f"{name}: {value}" for name, value in report.options.items()), markup=False)
    for workload in WORKLOADS:
        of_it = [row for row in report.rows if row.workload == workload.name]
        if of_it:
            out.print()
            out.print(_load_table(f"{workload.name}: {workload.what}", of_it))
    if report.findings:
        out.print()
        out.print(_findings_table(report.findings))
    if report.stages:
        out.print()
        out.print(_stage_table(report.stages))
    for text in report.left_out:
        out.print(f"left out: {text}", style="yellow", markup=False)
    for text in report.problems:
        out.print(f"problem: {text}", style="red", markup=False)


def _load_table(title: str, rows: Sequence[Row]) -> Table:
    table = _table(title, "contender")
    shown = [name for name in REFERENCES if any(name in row.ratios for row in rows)]
    for name in (
        "req/s",
        "±",
        "p50 ms",
        "p99 ms",
        "core",
        "µs each",
        *(f"by {name}" for name in shown),
        "failed",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.contender,
            f"{row.rate:,.0f}",
            f"{row.spread:.0%}",
            f"{row.p50:.2f}",
            f"{row.p99:.2f}",
            f"{row.cpu:.0%}" if row.cpu else "",
            f"{row.cost:.0f}" if row.cpu else "",
            *(_ratio(row.ratios.get(name)) for name in shown),
            str(row.failed + row.refused) if row.failed + row.refused else "",
        )
    return table


def _findings_table(findings: Sequence[Finding]) -> Table:
    table = _table("what it has to show, and what else was found", "part", "what")
    table.add_column("found", justify="right")
    table.add_column("promised")
    table.add_column("")
    for finding in findings:
        kept = {True: "[green]kept[/green]", False: "[red]not kept[/red]", None: ""}[finding.kept]
        texts = (finding.part, finding.what, finding.found, finding.wanted)
        table.add_row(*(escape(text) for text in texts), kept)
    return table


def _stage_table(stages: Sequence[Stage]) -> Table:
    table = _table("what a request's stages cost in one process, each by itself", "stage", "what is timed")
    table.add_column("µs", justify="right")
    table.add_column("±", justify="right")
    for stage in stages:
        table.add_row(stage.name, stage.what, f"{stage.microseconds:.2f}", f"{stage.spread:.0%}")
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
