"""A typer application with the defaults of all our commands: `bff`, `bff demo`, `bff issuer`.

A flag is shown without a type (`--json`, and not `--json <bool>`), --help included.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand, TyperGroup

from bff.settings.problem import SettingProblem

_PLAIN_WIDTH: Final = 200  # columns of a table that goes to a file or a pipe

Function = TypeVar("Function", bound=Callable[..., Any])


class _Command(TyperCommand):
    def get_params(self, *arguments: Any) -> list[Any]:
        return _without_types(super().get_params(*arguments))


class _Group(TyperGroup):
    def get_params(self, *arguments: Any) -> list[Any]:
        return _without_types(super().get_params(*arguments))


def examples(*lines: str) -> str:
    """The end of a command's help: lines to type, each with a word on it behind `#` where one is needed."""
    shown = (line.partition("  # ") for line in lines)
    parts = (f"[bold]{escape(typed)}[/bold]" + (f" ({words})" if words else "") for typed, _, words in shown)
    return ("Examples: " if len(lines) > 1 else "Example: ") + "  ·  ".join(parts)


def table_of(*headings: str, whole: str = "") -> Table:
    """A table that cuts no text off: long ones go on in the next line. The column `whole` is not broken."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == whole)
    return table


def table_console(*, markup: bool = True) -> Console:
    """The console for a table: as wide as the terminal, and wide enough in a file or a pipe."""
    console = Console(highlight=False, markup=markup)
    return console if console.is_terminal else Console(highlight=False, markup=markup, width=_PLAIN_WIDTH)


def _without_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


class CommandLine(typer.Typer):
    """A command, or a group of commands."""

    def __init__(self, **options: Any) -> None:
        defaults: dict[str, Any] = {
            "cls": _Group,
            "add_completion": False,
            "rich_markup_mode": "rich",
            "pretty_exceptions_enable": False,  # they show local variables, and so secrets
        }
        super().__init__(**defaults | options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Adds a command, as `typer.Typer.command` does."""
        add: Callable[[Function], Function] = super().command(name, **{"cls": _Command} | options)
        return add


def complain(problems: Sequence[SettingProblem]) -> None:
    """Shows each problem with its setting, its fix and its place."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    console.print(f"The settings have {count}:", style="bold red", markup=False)
    for problem in problems:
        console.print()
        console.print(problem.key or "settings", style="bold", markup=False, end="")
        console.print(f" {problem.message}", markup=False)
        console.print(f"    fix: {problem.fix}", style="green", markup=False)
        if problem.source:
            console.print(f"    in {problem.source}", style="dim", markup=False)
