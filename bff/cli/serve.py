"""`bff serve`: runs the proxy."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from bff.cli.settings import ConfigOption, load_or_exit
from bff.command_line import CommandLine

if TYPE_CHECKING:
    from bff.settings.model import Settings

app = CommandLine()


@app.command(
    epilog="Examples: [bold]bff serve[/bold]  ·  [bold]bff serve -c /etc/bff/bff.toml --workers 4[/bold]"
)
def serve(
    config: ConfigOption = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="The number of worker processes; else server.workers."),
    ] = None,
) -> None:
    """Run the proxy until SIGTERM or Ctrl-C; requests in flight are finished."""
    from bff.serve.signals import ignore_until_handled  # noqa: PLC0415 - see the package's first lines

    ignore_until_handled()
    loaded = load_or_exit(config)
    from bff.observe.logs import configure, get_logger  # noqa: PLC0415 - see the package's first lines

    settings = _with_workers(loaded.settings, workers)
    configure(settings.log)
    for warning in loaded.warnings:
        get_logger("bff.settings").warning(
            "setting_doubtful", setting=warning.key, problem=warning.message, fix=warning.fix
        )
    if settings.server.workers > 1:
        from bff.serve.supervisor import run  # noqa: PLC0415 - it does without what its workers need
    else:
        from bff.serve.lone_worker import run  # type: ignore[assignment] # noqa: PLC0415 - called alike

    from bff.serve.settings_reload import Source  # noqa: PLC0415 - see the package's first lines
    from bff.settings.load import load  # noqa: PLC0415 - likewise

    def read_settings() -> "Settings":
        # The file that was read at the start, however it was found: a gap in its place is a mistake.
        return _with_workers(load(loaded.file, os.environ), workers)

    raise typer.Exit(run(settings, source=Source(read_settings, loaded.file, loaded.seen)))


def _with_workers(settings: "Settings", workers: int | None) -> "Settings":
    if workers is None:
        return settings
    server = settings.server.model_copy(update={"workers": workers})
    return settings.model_copy(update={"server": server})
