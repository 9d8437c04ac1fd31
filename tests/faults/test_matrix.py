"""A sample of the fault matrix; `python3 -m tests.tools.soak faults` runs it whole."""

import random
from dataclasses import replace

import pytest

from tests.faults.cell import run_cell
from tests.faults.strikes import EMPTY
from tests.faults.table import CELLS, ROTATION, Cell
from tests.tools.soak.faults import run_cells

SEED = 10
ALWAYS = (
    "kill -9 @ spent",
    "kill -9 @ spent (grace)",
    "kill -9 @ saved",
    "Redis restarts @ spent",
    "provider slow 25 s @ asked",
)
LONG = 100.0
"""Seconds; a cell that may take as long is for a longer run."""

BESIDE = 6


def sample(seed: int) -> list[Cell]:
    """The cells that show a promise by themselves, and some by chance."""
    always = [cell for cell in CELLS if cell.name in ALWAYS]
    others = [cell for cell in CELLS if cell.name not in ALWAYS and cell.within < LONG]
    return always + random.Random(seed).sample(others, BESIDE)  # noqa: S311 - can be repeated


def test_the_matrix_covers_what_it_promises() -> None:
    """At least forty cells, every moment of a rotation; what is lost says why nobody could have kept it."""
    assert len(CELLS) >= 40
    assert set(ROTATION) <= {cell.moment for cell in CELLS}
    assert [] == [cell.name for cell in CELLS if (cell.end == "lost") != bool(cell.why)]
    kept_by_grace = {(cell.fault, cell.moment) for cell in CELLS if cell.grace and cell.end == "kept"}
    hopeless = {(cell.fault, cell.moment) for cell in CELLS if cell.end == "lost"} - kept_by_grace
    assert {EMPTY} == {fault for fault, _ in hopeless}


@pytest.mark.requirement("T-08", "T-09", "T-10", "T-14", "T-17")
async def test_a_sample_of_the_matrix() -> None:
    """Each cell ends as the table says: calls, answers, session, nothing left locked, in time."""
    cells = sample(SEED)
    results = await run_cells(cells, parallel=5, seconds=120)
    assert {} == {result.cell.name: result.wrong for result in results if result.wrong}
    assert len(ALWAYS) + BESIDE == len(results)


async def test_a_cell_can_fail() -> None:
    """What the table does not say is told: the end, the calls, and what clients got."""
    cell = next(cell for cell in CELLS if cell.name == "family revoked @ asked")
    result = await run_cell(replace(cell, end="kept", calls=(0, 0), within=1))
    text = "\n".join(result.wrong)
    for words in ("in the end: 401 session_ended invalid_grant", "token calls: ['dead']", "gone from Redis"):
        assert words in text
