"""`bff` itself: its commands, and --version."""

from typing import Annotated

import typer

from bff import __version__
from bff.cli import check, command_groups, init, keys, serve
from bff.command_line import CommandLine

app = CommandLine(
    name="bff",
    help="A backend-for-frontend session proxy: the tokens stay in Redis, the browser gets an opaque cookie.",
    no_args_is_help=True,
    add_completion=True,
)
app.add_typer(init.app)
app.add_typer(serve.app)
app.add_typer(check.app)
app.add_typer(command_groups.app)
app.add_typer(keys.app, name="keys")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bff {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Try it first: [bold]bff demo[/bold]. Then [bold]bff init[/bold] writes a bff.toml.  ·  "
    "Exit codes: 0 done; 1 it could not be done (Redis is away, a port is taken); 2 the settings or the "
    "arguments are wrong; 130 interrupted."
)
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """A backend-for-frontend session proxy: the tokens stay in Redis, the browser gets an opaque cookie."""
