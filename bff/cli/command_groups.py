"""`bff sessions`, `bff demo` and `bff issuer`: groups of commands, imported when they are run."""

from importlib.util import find_spec
from typing import Any, Final

import typer

from bff.command_line import CommandLine

_PASS_ON: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}

_ISSUER: Final = ("argon2", "jinja2", "python_multipart")

app = CommandLine()


def _require_extra(extra: str, modules: tuple[str, ...]) -> None:
    """Ends the command with one line if an extra of the distribution is not installed."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        typer.echo(
            f"bff {extra} needs more than the proxy: install bff-session-proxy[{extra}] "
            f"(missing: {', '.join(missing)})",
            err=True,
        )
        raise typer.Exit(1)


@app.command(context_settings=_PASS_ON)
def sessions(context: typer.Context) -> None:
    """Show and end the sessions of signed-in users: list, show, end, stats."""
    from bff.cli.sessions.app import app as sessions_app  # noqa: PLC0415 - see the package's first lines

    sessions_app(args=context.args, prog_name="bff sessions")


@app.command(context_settings=_PASS_ON)
def demo(context: typer.Context) -> None:
    """Run the demo: Redis, an issuer, a sample API, the proxy and a page."""
    _require_extra("demo", _ISSUER)
    from bff.demo.cli import app as demo_app  # noqa: PLC0415 - see the package's first lines

    demo_app(args=context.args, prog_name="bff demo")


@app.command(context_settings=_PASS_ON)
def issuer(context: typer.Context) -> None:
    """Run the issuer: an OpenID Provider for development, tests and first-party apps."""
    _require_extra("issuer", _ISSUER)
    from bff.issuer.cli.main import app as issuer_app  # noqa: PLC0415 - see the package's first lines

    issuer_app(args=context.args, prog_name="bff issuer")
