"""`bff sessions`, `bff demo` and `bff issuer`: groups of commands, imported when they are run."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import typer
from typer.core import TyperCommand
from typer.main import get_command

from bff.command_line import CommandLine

_APPS: Final = {"sessions": "bff.cli.sessions.app", "demo": "bff.demo.cli", "issuer": "bff.issuer.cli.main"}
"""The module of each group."""

_PASS_ON: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}

_ISSUER: Final = ("argon2", "jinja2", "python_multipart")

app = CommandLine()


class _PassedOn(TyperCommand):
    """A command that passes its words on to a group, and completes its commands and options for a shell."""

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Returns what a shell may offer for the last word; nothing for an option's value."""
        try:
            command: Any = get_command(_group(self.name or ""))
        except ImportError:  # an extra that is not installed
            return []
        context = command.make_context(self.name, [], resilient_parsing=True)
        for word in ctx.args:
            named = getattr(command, "commands", {}).get(word)
            if named is not None:
                command, context = named, named.make_context(word, [], parent=context, resilient_parsing=True)
        return (
            [] if ctx.args and ctx.args[-1].startswith("-") else command.shell_complete(context, incomplete)
        )


def _group(name: str) -> typer.Typer:
    group: typer.Typer = import_module(_APPS[name]).app
    return group


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


@app.command(cls=_PassedOn, context_settings=_PASS_ON)
def sessions(context: typer.Context) -> None:
    """Show and end the sessions of signed-in users: list, show, end, stats."""
    _group("sessions")(args=context.args, prog_name="bff sessions")


@app.command(cls=_PassedOn, context_settings=_PASS_ON)
def demo(context: typer.Context) -> None:
    """Run the demo: Redis, an issuer, a sample API, the proxy and a page."""
    _require_extra("demo", _ISSUER)
    _group("demo")(args=context.args, prog_name="bff demo")


@app.command(cls=_PassedOn, context_settings=_PASS_ON)
def issuer(context: typer.Context) -> None:
    """Run the issuer: an OpenID Provider for development, tests and first-party apps."""
    _require_extra("issuer", _ISSUER)
    _group("issuer")(args=context.args, prog_name="bff issuer")
