"""The tables of all commands, on terminals of any width."""

import io

import pytest
from rich.console import Console

from bff.command_line import table_of

ROW = ("42df4016", "signs", "2026-11-29T22:51:36Z", "https://id.example.com/realms/example")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_cut_off(width: int) -> None:
    """Each character of a cell is shown, and the column that is copied from stands on one line."""
    shown = io.StringIO()
    table = table_of("key", "state", "made", "issuer", whole="key")
    table.add_row(*ROW)
    Console(file=shown, width=width).print(table)
    head, *lines = shown.getvalue().splitlines()
    assert head.startswith("key")
    assert "…" not in shown.getvalue()
    assert any(line.startswith(ROW[0]) for line in lines)
    assert sorted("".join(ROW)) == sorted("".join("".join(lines).split()))
