"""`bff init`: writes a first settings file for a provider, makes the keys, and checks them."""

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from bff.cli.check import check
from bff.command_line import CommandLine
from bff.settings.first_file import Question, fill, questions, title, to_register
from bff.settings.problem import SettingProblem, SettingsError

_HERE: Final = Path("bff.toml")
_KEYS: Final = Path("bff-keys")
_SECRET: Final = Path("client-secret")
_PRIVATE: Final = 0o600
_KINDS: Final = {"/bff/callback": "redirect URI", "/bff/backchannel-logout": "back-channel logout URI"}
_HOME: Final = "post-logout redirect URI"
_LATER: Final = frozenset({"spa.dir"})  # a page that is not built yet: left to the check at the end
_INDEX: Final = re.compile(r"\[\d+\]")

app = CommandLine()


@app.command(
    epilog="Examples: [bold]bff init[/bold]  ·  [bold]bff init keycloak[/bold]  ·  "
    "[bold]bff init okta --yes --set provider.issuer=https://acme.okta.com/oauth2/default[/bold]"
)
def init(
    provider: Annotated[
        str | None,
        typer.Argument(
            help="The provider's name; without it the command lists them.",
            autocompletion=lambda: list(provider_files()),
        ),
    ] = None,
    answers: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Answer a question beforehand. Can be repeated."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: values without --set stay those of the example.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing bff.toml.")] = False,
    skip_check: Annotated[bool, typer.Option("--no-check", help="Skip `bff check` at the end.")] = False,
) -> None:
    """Write bff.toml for a provider by name: ask for its values, make the keys, and run `bff check`."""
    texts = provider_files()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if provider is None:
        for name, text in texts.items():
            typer.echo(f"{name:<11}{title(text)}")
        console.print("Choose one: bff init NAME", style="green", markup=False)
        raise typer.Exit(0)
    if provider not in texts:
        raise typer.BadParameter(f"no provider {provider!r}: {', '.join(texts)}", param_hint="provider")
    if os.path.lexists(_HERE) and not force:
        raise typer.BadParameter(f"{_HERE} is there already: --force writes over it", param_hint="bff.toml")
    asked = questions(texts[provider])
    given = _given(answers or [], {question.key for question in asked})
    ask = sys.stdin.isatty() and not yes
    if ask:
        console.print(_notes(texts[provider]), style="dim", markup=False)
        for question in asked:
            if question.key not in given:
                given[question.key] = _ask(question, texts[provider], given)
    text = fill(texts[provider], given)
    _HERE.write_text(text, encoding="utf-8")
    typer.echo(f"{_HERE} is written.")
    if addresses := to_register(text, given.get("server.public_url", "")):
        typer.echo(f"Register at the provider, as {_HERE} says:")
        for address in addresses:
            kind = next((kind for path, kind in _KINDS.items() if address.endswith(path)), _HOME)
            typer.echo(f"  {kind:<25} {address}")
    if left := [question.key for question in asked if question.key not in given]:
        typer.echo(f"These have the example's values still, replace them: {', '.join(left)}.")
    _make_secrets(ask=ask)
    if skip_check:
        typer.echo("Next: bff check, then bff serve.")
        return
    check(config=_HERE)


def provider_files() -> dict[str, str]:
    """The text of each provider's settings file by the provider's name, `other` last."""
    installed = files("bff.cli") / "providers"
    folder = installed if installed.is_dir() else Path(__file__).parents[2] / "config" / "providers"
    found = {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }
    return dict(sorted(found.items(), key=lambda item: (item[0] == "other", item[0])))


def _given(answers: list[str], keys: set[str]) -> dict[str, str]:
    given = {}
    for answer in answers:
        key, equals, value = answer.partition("=")
        if not equals or key not in keys:
            raise typer.BadParameter(
                f"{answer!r}: KEY is one of {', '.join(sorted(keys))}", param_hint="--set"
            )
        given[key] = value
    return given


def _notes(text: str) -> str:
    """The notes at the head of the file, without their marks."""
    lines = text.partition("\n\n")[0].split("\n")
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines) + "\n"


def _ask(question: Question, text: str, given: Mapping[str, str]) -> str:
    """Asks until the answer is one that the settings take beside those before it."""
    if question.help:
        typer.secho(question.help, dim=True, err=True)
    while True:
        entered: str = typer.prompt(question.key, default=question.example, err=True)
        answer = entered.strip()
        problem = _problem_with(question.key, fill(text, {**given, question.key: answer}))
        if problem is None:
            return answer
        typer.secho(f"{problem.key} {problem.message}: {problem.fix}", fg=typer.colors.YELLOW, err=True)


def _problem_with(key: str, text: str) -> SettingProblem | None:
    """Returns a problem of this setting in the text of a settings file; None where there is none."""
    if key in _LATER:
        return None
    from bff.settings.load import load_all  # noqa: PLC0415 - see the package's first lines

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / _HERE
        file.write_text(text, encoding="utf-8")
        try:
            load_all(file, {})
        except SettingsError as error:
            return next((each for each in error.problems if _INDEX.sub("", each.key) == key), None)
    return None


def _ask_secret() -> str:
    answer: str = typer.prompt("The client secret", default="", hide_input=True, show_default=False, err=True)
    return answer.strip()


def _make_secrets(*, ask: bool) -> None:
    """Makes the session keys and the client secret's file; existing files stay."""
    from bff.crypto import new_secret  # noqa: PLC0415 - see the package's first lines

    if _write_new(_KEYS, new_secret() + "\n"):
        typer.echo(f"{_KEYS} is made: the key of all cookies and sessions. Keep it out of version control.")
    if not _SECRET.exists():
        secret = _ask_secret() if ask else ""
        if secret and _write_new(_SECRET, secret + "\n"):
            typer.echo(f"{_SECRET} is written. Keep it out of version control.")
        else:
            typer.echo(f"Write the client secret into the file {_SECRET} (chmod 600).")


def _write_new(path: Path, text: str) -> bool:
    """Writes a file that only its owner may read; returns False if the file exists."""
    try:  # by one descriptor: nobody who may write the folder can put a link in between
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True
