"""The settings of a command: the option that names their file, and the report of their problems."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from bff.settings.load import Loaded, load_all
from bff.settings.problem import SettingProblem, SettingsError

FAILED: Final = 1
UNUSABLE: Final = 2

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The settings file; else the one that BFF_CONFIG names, else bff.toml if it is here.",
    ),
]


def load_or_exit(config: Path | None) -> Loaded:
    """Reads the settings, or shows every problem on standard error and exits with 2."""
    try:
        return load_all(config, os.environ)
    except SettingsError as error:
        complain(error.problems)
        raise typer.Exit(UNUSABLE) from None


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
