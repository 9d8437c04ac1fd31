"""`bff serve`: runs the proxy."""

from typing import Annotated

import typer

from bff.cli.settings import ConfigOption, load_or_exit
from bff.command_line import CommandLine

app = CommandLine()


@app.command(
    epilog="Examples: [bold]bff serve[/bold]  ·  [bold]bff serve -c /etc/bff/bff.toml --workers 4[/bold]"
)
def serve(
    config: ConfigOption = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Serving processes, one for each core; else server.workers."),
    ] = None,
) -> None:
    """Run the proxy until it is told to stop (SIGTERM, Ctrl-C); requests in flight are finished."""
    loaded = load_or_exit(config)
    from bff.observe.logs import configure, get_logger  # noqa: PLC0415 - see the package's first lines

    settings = loaded.settings
    if workers is not None:
        server = settings.server.model_copy(update={"workers": workers})
        settings = settings.model_copy(update={"server": server})
    configure(settings.log)
    for warning in loaded.warnings:
        get_logger("bff.settings").warning(
            "setting_doubtful", setting=warning.key, problem=warning.message, fix=warning.fix
        )
    if settings.server.workers > 1:
        from bff.serve.supervisor import run  # noqa: PLC0415 - it does without what its workers need
    else:
        from bff.serve.worker import run  # type: ignore[assignment] # noqa: PLC0415 - called alike
    raise typer.Exit(run(settings))
