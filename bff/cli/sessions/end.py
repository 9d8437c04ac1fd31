"""`bff sessions end`: ends sessions, at once and in every process."""

from typing import Annotated

import typer

from bff.cli.sessions.access import load_settings
from bff.cli.sessions.end_progress import Ending, shell_user
from bff.cli.sessions.options import (
    AfterOption,
    BeforeOption,
    ClaimOption,
    FastOption,
    FrontendOption,
    IdleOption,
    JsonOption,
    ProviderOption,
    UserOption,
    selection_of,
)
from bff.cli.sessions.session_argument import beginning_of
from bff.cli.settings import ConfigOption
from bff.command_line import CommandLine, examples
from bff.session.operator_actions import Operator

_LONGEST = 200  # characters of a reason

app = CommandLine()


@app.command(
    epilog=examples(
        "bff sessions end 0cd6f637684b --reason 'lost phone'",
        "bff sessions end --user 7f3a --dry-run",
        "bff sessions end --claim email=alice@example.com --yes",
        "bff sessions end --provider main --before 2026-11-28T12:00 --yes",
        "bff sessions end --all",
    ),
)
def end(  # noqa: PLR0917 - typer passes them by name
    sessions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SESSION", help="The sessions' ids, as in logs and lists, or their first characters."
        ),
    ] = None,
    user: UserOption = None,
    claim: ClaimOption = None,
    provider: ProviderOption = None,
    frontend: FrontendOption = None,
    before: BeforeOption = None,
    after: AfterOption = None,
    idle: IdleOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All sessions.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the sessions that would end, and end none.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before more than one is ended.")
    ] = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, for the audit log.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The operator's name, for the audit log; else the user of this shell."
        ),
    ] = None,
    as_json: JsonOption = False,
    fast: FastOption = False,
    config: ConfigOption = None,
) -> None:
    """End sessions at once, in every process. Their pages get the reason, and each end is an audit event.

    Their refresh tokens stay valid at the provider, since only the user's cookie opens them: if the account
    itself is in danger, lock it at the provider as well.
    """
    options = {
        "user": user,
        "claim": claim,
        "provider": provider,
        "frontend": frontend,
        "before": before,
        "after": after,
        "idle": idle,
    }
    chosen = any(value is not None for value in options.values())
    if sessions and (everything or chosen):
        raise typer.BadParameter("name sessions, or select them by options, and not both")
    if everything and chosen:
        raise typer.BadParameter("--all ends all there are: leave the other options out")
    if not (sessions or everything or chosen):
        raise typer.BadParameter(
            "name sessions, or select them: --user, --claim, --provider, --frontend, --before, --all"
        )
    settings = load_settings(config)
    operator = Operator(by or shell_user(), None if reason is None else reason[:_LONGEST])
    ending = Ending(settings, operator, yes=yes, dry_run=dry_run, as_json=as_json, fast=fast)
    if sessions:
        ending.of_named([beginning_of(text) for text in sessions])
    else:
        ending.of_selected(selection_of(**options, known=settings.session.readable_claims))
