"""What the commands of the issuer share: the option for its settings, and how wrong ones are told."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from bff.issuer.settings import IssuerSettings, load

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Its settings in TOML; ISSUER_… variables win over it."
    ),
]


def load_or_exit(config: Path | None) -> IssuerSettings:
    """Reads the settings, or names every problem on standard error and exits with 2."""
    try:
        return load(config)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"])
            typer.echo(f"{name or 'settings'}: {problem['msg']}", err=True)
        raise typer.Exit(2) from None
