"""`bff sessions list`: the sessions, page by page."""

import re
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from bff.cli.sessions.access import INTERRUPTED, Stop, fail, load_settings, progress, run, say
from bff.cli.sessions.options import (
    AfterOption,
    BeforeOption,
    ClaimOption,
    FastOption,
    FrontendOption,
    IdleOption,
    ProviderOption,
    UserOption,
    advice_for_none,
    selection_of,
)
from bff.cli.sessions.view import write_json, write_lines
from bff.cli.settings import ConfigOption
from bff.command_line import CommandLine, examples
from bff.session.operator_actions import OperatorActions
from bff.session.operator_view import Entry, Selection
from bff.settings.frontends import frontends_of

app = CommandLine()
_PAGE = re.compile(r"(\d{1,20})\.([0-9a-f]{64})?")


@app.command(
    "list",
    epilog=examples(
        "bff sessions list --claim email=alice@example.com",
        "bff sessions list --user 7f3a --json | jq -r .id",
        "bff sessions list --after 10m  # signed in within ten minutes",
        "bff sessions list --idle 20m --all",
    ),
)
def list_sessions(  # noqa: PLR0917 - typer passes them by name
    user: UserOption = None,
    claim: ClaimOption = None,
    provider: ProviderOption = None,
    frontend: FrontendOption = None,
    before: BeforeOption = None,
    after: AfterOption = None,
    idle: IdleOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Sessions a page.")] = 50,
    page: Annotated[
        str | None, typer.Option("--page", metavar="PAGE", help="The next page, as the former one names it.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All sessions, without pages.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object a line.")] = False,
    fast: FastOption = False,
    config: ConfigOption = None,
) -> None:
    """Show sessions, in no order: name, age, idle time, user, address, browser."""
    settings = load_settings(config)
    selection = selection_of(
        user=user,
        claim=claim,
        provider=provider,
        frontend=frontend,
        before=before,
        after=after,
        idle=idle,
        known=settings.session.readable_claims,
    )
    listing = _Listing(
        None if everything else limit, as_json=as_json, frontends=len(frontends_of(settings)) > 1
    )
    if page is not None:
        listing.begin_at(page)
    run(settings, lambda actions, stop: listing.write(actions, stop, selection), fast=fast)


class _Listing:
    """A page: its query, and the sessions shown so far."""

    def __init__(self, limit: int | None, *, as_json: bool, frontends: bool) -> None:
        self._left = limit
        self._as_json = as_json
        self._frontends = frontends
        self._cursor, self._after = 0, ""
        self._shown = 0
        self._console = Console(highlight=False, markup=False)

    def begin_at(self, page: str) -> None:
        """Goes on after the end of another page: a position of the scan, and the last key shown of it."""
        if (found := _PAGE.fullmatch(page)) is None:
            raise typer.BadParameter(f"{page!r} is no page: copy it from the last line of the page before")
        self._cursor, self._after = int(found[1]), found[2] or ""

    async def write(self, actions: OperatorActions, stop: Stop, selection: Selection) -> None:
        """Writes the page."""
        looked, cleaned = 0, 0
        with progress("looking") as tell:
            async for step in actions.find(selection, cursor=self._cursor):
                looked, cleaned = looked + step.looked_at, cleaned + step.cleaned
                rest = [entry for entry in step.entries if entry.key > self._after]
                self._after = ""
                taken = rest if self._left is None else rest[: self._left]
                self._write(taken)
                tell(step.done, f"{looked:,} looked at, {self._shown:,} shown")
                if self._left == 0 and (len(rest) > len(taken) or step.done < 1):
                    self._more(step.began, taken)
                    break
                if stop.asked:
                    fail(f"Interrupted: {looked:,} looked at, {self._shown:,} shown, of more.", INTERRUPTED)
        if cleaned:
            say(f"Dropped {cleaned:,} entries of the user's index whose session is gone.")
        if not self._shown:
            say("No session fits.")
            if advice := advice_for_none(selection):
                say(advice)

    def _write(self, entries: Sequence[Entry]) -> None:
        if self._as_json:
            write_json(entries)
        elif entries:
            now, head = time.time(), not self._shown
            write_lines(self._console, entries, now, head=head, frontends=self._frontends)
        self._shown += len(entries)
        if self._left is not None:
            self._left -= len(entries)

    def _more(self, began: int | None, shown: Sequence[Entry]) -> None:
        if began is None:
            say("There are more of this user's: --limit, or --all.")
        else:
            say(f"There may be more: --page {began}.{shown[-1].key if shown else ''}")
