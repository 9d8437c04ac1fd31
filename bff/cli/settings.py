"""The settings of a command: the option that names their file, and the report of their problems."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bff.command_line import complain
from bff.settings.problem import SettingsError

if TYPE_CHECKING:
    from bff.settings.load import Loaded

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


def load_or_exit(config: Path | None) -> "Loaded":
    """Reads the settings, or shows every problem on standard error and exits with 2."""
    from bff.settings.load import load_all  # noqa: PLC0415 - see the package's first lines

    try:
        return load_all(config, os.environ)
    except SettingsError as error:
        complain(error.problems)
        raise typer.Exit(UNUSABLE) from None
