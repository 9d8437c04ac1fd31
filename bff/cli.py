"""The command `bff`.

Exit codes: 0 done, 1 a check failed or the server could not run, 2 the settings or the arguments are wrong.
What a command was asked for goes to standard output, what went wrong to standard error; colours only on a
terminal. What a command needs is imported when it runs, so that `bff --help` answers at once.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from bff import __version__
from bff.settings.load import Loaded, load_all
from bff.settings.problem import SettingProblem, SettingsError

FAILED: Final = 1
UNUSABLE: Final = 2
_PLAIN_WIDTH = 200  # columns of a table that goes to a file or a pipe

app = typer.Typer(
    name="bff",
    help="A backend-for-frontend session proxy: the tokens stay in Redis, the browser gets an opaque cookie.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # they show local variables, and so secrets
)
keys = typer.Typer(help="Keys that cookies and sessions are signed and sealed with.", no_args_is_help=True)
app.add_typer(keys, name="keys")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The settings file; else the one that BFF_CONFIG names, else bff.toml if it is here.",
    ),
]
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bff {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Try it first: [bold]bff demo[/bold]. Then write a bff.toml and ask [bold]bff check[/bold]."
)
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave."),
    ] = False,
) -> None:
    """A backend-for-frontend session proxy: the tokens stay in Redis, the browser gets an opaque cookie."""


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
    loaded = _load(config)
    from bff.observe.logs import configure, get_logger  # noqa: PLC0415 - see the file's first lines

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


@app.command(
    epilog="Examples: [bold]bff check[/bold]  ·  [bold]bff check --offline[/bold] before a deployment  ·  "
    "[bold]bff check --json | jq .problems[/bold]"
)
def check(
    config: ConfigOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object instead of a table.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Look at the settings only.")] = False,
) -> None:
    """Check the settings, then whether Redis, the provider and every backend can be used."""
    try:
        loaded = load_all(config, os.environ)
    except SettingsError as error:
        if as_json:
            _write_json(ok=False, problems=error.problems, warnings=[], checks=[])
        else:
            _complain(error.problems)
        raise typer.Exit(UNUSABLE) from None
    from bff.serve.preflight import preflight  # noqa: PLC0415 - see the file's first lines

    checks = [] if offline else asyncio.run(preflight(loaded.settings))
    ok = all(result.ok for result in checks)
    if as_json:
        _write_json(
            ok=ok, problems=[], warnings=loaded.warnings, checks=[asdict(result) for result in checks]
        )
    else:
        _tell(loaded)
        rows = [
            (_mark(result.ok, result.fix), result.name, result.target, result.detail, result.fix)
            for result in checks
        ]
        if rows:
            _table(rows)
    raise typer.Exit(0 if ok else FAILED)


@keys.command(
    epilog="Examples: [bold]bff keys generate > bff-keys[/bold]  ·  to rotate, put a new one first: "
    "[bold](bff keys generate; cat bff-keys) > new[/bold]"
)
def generate(
    count: Annotated[
        int, typer.Option(min=1, max=10, help="How many; each stands on a line of its own.")
    ] = 1,
) -> None:
    """Make keys for session.keys_file or BFF_SESSION__KEYS: 256 random bits each, newest first."""
    from bff.crypto import new_secret  # noqa: PLC0415 - see the file's first lines

    for _ in range(count):
        typer.echo(new_secret())


@keys.command(
    epilog="Examples: [bold]bff keys client > client-key.json[/bold]  ·  what to register: "
    "[bold]bff keys client --public client-key.json[/bold]"
)
def client(
    public: Annotated[
        Path | None, typer.Option(help="Show the public half of this key as a key set instead of making one.")
    ] = None,
) -> None:
    """Make a key for provider.client_key_file (private_key_jwt), or show its public half."""
    from bff.oidc.assertion import new_client_key  # noqa: PLC0415 - see the file's first lines
    from bff.settings.client_key import public_key_set  # noqa: PLC0415 - same

    if public is None:
        typer.echo(new_client_key())
        return
    try:
        typer.echo(public_key_set(public.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise typer.BadParameter(f"{public}: {problem}") from None


@app.command(context_settings=_PASS_ON)
def demo(context: typer.Context) -> None:
    """Show it all at work: Redis, issuer, a sample API, the proxy and a page."""
    from bff.demo.cli import app as demo_app  # noqa: PLC0415 - see the file's first lines

    demo_app(args=context.args, prog_name="bff demo")


@app.command(context_settings=_PASS_ON)
def issuer(context: typer.Context) -> None:
    """Run the issuer: an OpenID Provider for development, tests and first-party apps."""
    from bff.issuer.cli.main import app as issuer_app  # noqa: PLC0415 - see the file's first lines

    issuer_app(args=context.args, prog_name="bff issuer")


def main() -> None:
    """The entry point."""
    app()


def _load(config: Path | None) -> Loaded:
    try:
        return load_all(config, os.environ)
    except SettingsError as error:
        _complain(error.problems)
        raise typer.Exit(UNUSABLE) from None


def _complain(problems: Sequence[SettingProblem]) -> None:
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


def _tell(loaded: Loaded) -> None:
    console = Console(highlight=False, soft_wrap=True)
    source = str(loaded.file) if loaded.file else "the environment alone"
    console.print(f"The settings are good ({source}).", style="green", markup=False)
    for warning in loaded.warnings:
        console.print(f"{warning.key} {warning.message}. {warning.fix}", style="yellow", markup=False)


def _mark(ok: bool, fix: str) -> str:
    if not ok:
        return "[red]failed[/red]"
    return "[yellow]look[/yellow]" if fix else "[green]ok[/green]"


def _table(rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    table = Table("", "what", "where", "found", "what to do", box=None, pad_edge=False, header_style="bold")
    for mark, *texts in rows:
        table.add_row(mark, *(text.replace("[", r"\[") for text in texts))
    console.print(table)


def _write_json(
    *,
    ok: bool,
    problems: Sequence[SettingProblem],
    warnings: Sequence[SettingProblem],
    checks: Sequence[dict[str, object]],
) -> None:
    report = {
        "ok": ok,
        "problems": [asdict(problem) for problem in problems],
        "warnings": [asdict(warning) for warning in warnings],
        "checks": checks,
    }
    typer.echo(json.dumps(report, indent=2))
