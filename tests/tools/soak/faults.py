"""The fault matrix: real workers, a real Redis and a provider with a ledger, struck at named moments.

Each cell starts its own servers, holds a rotation at one moment, strikes, and looks what clients got and what
is left. Prints a table; the exit status is 1 if a cell is not as `tests/faults/table.py` says.
"""

import argparse
import asyncio
import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bff.tasks import Tasks
from tests.faults.cell import Result, run_cell
from tests.faults.table import CELLS, Cell

Done = Callable[[Result], None]


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command's arguments."""
    parser.add_argument("--only", action="append", help="only cells whose name holds this; may be repeated")
    parser.add_argument("--parallel", type=int, default=3, help="how many cells at the same time (3)")
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the cells in an order that the seed gives, for as long as the time lasts."""
    seed = arguments.seed or random.SystemRandom().randrange(1, 1 << 31)
    words: Sequence[str] = arguments.only or [""]
    cells = [cell for cell in CELLS if any(word in cell.name for word in words)]
    random.Random(seed).shuffle(cells)  # noqa: S311 - a seeded run can be repeated
    console = Console(stderr=True, emoji=False)
    console.print(f"seed {seed}, {len(cells)} cells, {arguments.parallel} at a time")
    started = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        bar = progress.add_task("cells", total=len(cells))

        def done(result: Result) -> None:
            progress.advance(bar)
            if result.wrong:
                progress.console.print(
                    f"[red]{result.cell.name}[/]: {escape(result.wrong[0])}", highlight=False
                )

        results = asyncio.run(run_cells(cells, arguments.parallel, arguments.minutes * 60, done))
    order = {cell: number for number, cell in enumerate(CELLS)}
    results.sort(key=lambda result: order[result.cell])
    seconds = time.monotonic() - started
    if arguments.json:
        print(json.dumps(_as_json(seed, seconds, results)))  # noqa: T201 - a command
    else:
        _show(results, not_run=len(cells) - len(results), seconds=seconds)
    return 1 if any(result.wrong for result in results) else 0


async def run_cells(
    cells: Sequence[Cell], parallel: int, seconds: float, done: Done = lambda _: None
) -> list[Result]:
    """Runs the cells, this number at a time; none is begun after so many seconds."""
    until = time.monotonic() + seconds
    waiting = list(reversed(cells))
    results: list[Result] = []

    async def one_after_the_other() -> None:
        while waiting and time.monotonic() < until:
            result = await run_cell(waiting.pop())
            results.append(result)
            done(result)

    tasks = Tasks()
    running = [tasks.spawn(one_after_the_other(), name=f"cells {number}") for number in range(parallel)]
    await asyncio.gather(*running)
    return results


def _show(results: Sequence[Result], *, not_run: int, seconds: float) -> None:
    table = Table("fault", "moment", "provider", "token calls", "answers", "session", "s", "")
    for result in results:
        cell = result.cell
        table.add_row(
            cell.fault,
            cell.moment + (f", token {cell.token}" if cell.moment == "asked" else ""),
            "grace" if cell.grace else "",
            f"{result.calls}" + (", reuse" if result.reuse else ""),
            answers_of(result),
            cell.end,
            f"{result.seconds:.1f}",
            "[red]WRONG[/]" if result.wrong else "[green]ok[/]",
        )
    console = Console(width=None if Console().is_terminal else 150, emoji=False)
    console.print(table)
    lost = [result for result in results if result.cell.end == "lost" and not result.wrong]
    for why in dict.fromkeys(result.cell.why for result in lost):
        names = [result.cell.name for result in lost if result.cell.why == why]
        console.print(f"lost: {', '.join(names)}\n  because {why}", highlight=False)
    for result in results:
        for wrong in dict.fromkeys(result.wrong):
            console.print(f"[red]{result.cell.name}[/]: {escape(wrong)}", highlight=False)
    ends = Counter("wrong" if result.wrong else result.cell.end for result in results)
    console.print(
        f"{len(results)} cells in {seconds:.0f} s: {ends['kept']} kept, {ends['ended']} ended rightly, "
        f"{ends['lost']} that nobody could have kept, {ends['wrong']} wrong"
        + (f"; {not_run} not begun in time" if not_run else ""),
        highlight=False,
    )


def answers_of(result: Result) -> str:
    """The answers to the session's own clients, as `200 x12, 503 x3`."""
    return ", ".join(f"{status or 'broken'} x{count}" for status, count in sorted(result.answers.items()))


def _as_json(seed: int, seconds: float, results: Sequence[Result]) -> dict[str, object]:
    cells = [
        dataclasses.asdict(result.cell)
        | {"name": result.cell.name, "token_calls": result.calls, "reuse": result.reuse}
        | {"answers": dict(result.answers), "seconds": round(result.seconds, 2), "wrong": result.wrong}
        for result in results
    ]
    return {"seed": seed, "seconds": round(seconds, 1), "cells": cells}
