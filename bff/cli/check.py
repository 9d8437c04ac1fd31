"""`bff check`: examines the settings, then Redis, the provider and every backend."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from bff.cli.settings import FAILED, UNUSABLE, ConfigOption
from bff.command_line import CommandLine, complain, table_console, table_of
from bff.serve.check_result import Check
from bff.settings.problem import SettingProblem, SettingsError

if TYPE_CHECKING:
    from bff.settings.load import Loaded

_TABLE_WIDTH: Final = 140  # columns of a terminal below which a table would break names and addresses

app = CommandLine()


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
    """Check the settings, then Redis, each provider and every backend, for all frontends."""
    from bff.settings.load import load_all  # noqa: PLC0415 - see the package's first lines

    try:
        loaded = load_all(config, os.environ)
    except SettingsError as error:
        if as_json:
            _write_json(ok=False, problems=error.problems, warnings=[], checks=[])
        else:
            complain(error.problems)
        raise typer.Exit(UNUSABLE) from None
    from bff.serve.preflight import preflight  # noqa: PLC0415 - see the package's first lines

    checks = [] if offline else asyncio.run(preflight(loaded.settings))
    ok = all(result.ok for result in checks)
    if as_json:
        _write_json(
            ok=ok, problems=[], warnings=loaded.warnings, checks=[asdict(result) for result in checks]
        )
    else:
        _tell(loaded)
        rows = [
            (_mark(result.ok, result.fix), _what(result), result.target, result.detail, result.fix)
            for result in checks
        ]
        if rows:
            _show(rows)
    raise typer.Exit(0 if ok else FAILED)


def _tell(loaded: "Loaded") -> None:
    console = Console(highlight=False, soft_wrap=True)
    source = str(loaded.file) if loaded.file else "the environment alone"
    console.print(f"The settings are good ({source}).", style="green", markup=False)
    for warning in loaded.warnings:
        console.print(f"{warning.key} {warning.message}. {warning.fix}", style="yellow", markup=False)


def _what(result: Check) -> str:
    return f"{result.name} ({result.frontend})" if result.frontend else result.name


def _mark(ok: bool, fix: str) -> str:
    if not ok:
        return "[red]failed[/red]"
    return "[yellow]look[/yellow]" if fix else "[green]ok[/green]"


def _show(rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """A table where the terminal is wide enough, else some lines for each check; nothing is cut off."""
    console = table_console()
    shown = [(mark, *(text.replace("[", r"\[") for text in texts)) for mark, *texts in rows]
    if console.width < _TABLE_WIDTH:
        for mark, what, where, found, fix in shown:
            console.print(f"{mark}  [bold]{what}[/bold]  {where}\n    {found}", soft_wrap=True)
            if fix:
                console.print(f"    fix: {fix}", style="green", soft_wrap=True)
        return
    table = table_of("", "what", "where", "found", "what to do")
    for row in shown:
        table.add_row(*row)
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
