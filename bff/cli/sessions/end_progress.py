"""The course of `bff sessions end`: find, ask, end, and report the progress."""

import getpass
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import typer
from rich.console import Console

from bff.cli.sessions.access import INTERRUPTED, Stop, fail, progress, run, say
from bff.cli.sessions.options import advice_for_none
from bff.cli.sessions.session_argument import the_one
from bff.cli.sessions.view import write_json_object, write_lines
from bff.cli.settings import FAILED, UNUSABLE
from bff.errors import StoreUnavailableError
from bff.session.operator_actions import Operator, OperatorActions, Step
from bff.session.operator_view import Entry, Selection
from bff.settings.frontends import frontends_of
from bff.settings.model import Settings

_SHOWN = 10  # sessions that are named before a question, or in a dry run


@dataclass
class _Tally:
    """The progress of a search or an ending."""

    looked_at: int = 0
    fitting: int = 0
    ended: int = 0
    stopped: bool = False
    some: list[Entry] = field(default_factory=list)

    def add(self, step: Step) -> None:
        self.looked_at += step.looked_at
        self.fitting += len(step.entries)
        self.ended += step.ended
        self.some += step.entries[: _SHOWN - len(self.some)]


class Ending:
    """One run of the command."""

    def __init__(
        self,
        settings: Settings,
        operator: Operator,
        *,
        yes: bool,
        dry_run: bool,
        as_json: bool,
        fast: bool,
    ) -> None:
        self._settings = settings
        self._operator = operator
        self._yes = yes
        self._dry_run = dry_run
        self._as_json = as_json
        self._fast = fast

    def of_named(self, beginnings: list[str]) -> None:
        """Ends these sessions; all of them are found before the first is ended."""

        async def find(actions: OperatorActions, _: Stop) -> list[Entry]:
            return [await the_one(actions, beginning) for beginning in dict.fromkeys(beginnings)]

        async def end(actions: OperatorActions, _: Stop) -> int:
            return await actions.end_these(found, self._operator)

        found = run(self._settings, find)
        tally = _Tally(looked_at=len(found), fitting=len(found), some=found)
        if not self._dry_run:
            self._ask(tally)
            tally.ended = run(self._settings, end)
        self._report(tally)

    def of_selected(self, selection: Selection) -> None:
        """Ends the sessions that fit. They are counted first, unless no question is asked."""
        tally = _Tally()
        if self._dry_run or not self._yes:
            self._run(lambda actions, stop: self._count(actions, stop, selection, tally))
            if tally.stopped:
                fail(f"Interrupted: {tally.looked_at:,} sessions looked at, none was ended.", INTERRUPTED)
        if not self._dry_run and (self._yes or tally.fitting):
            self._ask(tally)
            tally = _Tally()
            self._run(lambda actions, stop: self._end(actions, stop, selection, tally))
        self._report(tally)
        if not tally.fitting and not tally.stopped and (advice := advice_for_none(selection)):
            say(advice)

    def _run(self, work: Callable[[OperatorActions, Stop], Awaitable[None]]) -> None:
        run(self._settings, work, fast=self._fast)

    async def _count(self, actions: OperatorActions, stop: Stop, selection: Selection, tally: _Tally) -> None:
        with progress("looking") as tell:
            async for step in actions.find(selection):
                tally.add(step)
                tell(step.done, f"{tally.looked_at:,} looked at, {tally.fitting:,} fit")
                if stop.asked:
                    tally.stopped = True
                    return

    async def _end(self, actions: OperatorActions, stop: Stop, selection: Selection, tally: _Tally) -> None:
        try:
            with progress("ending") as tell:
                async for step in actions.end(selection, self._operator):
                    tally.add(step)
                    tell(step.done, f"{tally.looked_at:,} looked at, {tally.ended:,} ended")
                    if stop.asked:
                        tally.stopped = True
                        return
        except StoreUnavailableError:
            say(f"Broken off: at least {_so_far(tally)}")
            raise

    def _ask(self, tally: _Tally) -> None:
        """Asks before more than one is ended; the command ends here if the answer is no."""
        if self._yes or tally.fitting <= 1:
            return
        if not sys.stdin.isatty():
            fail(f"{tally.fitting:,} sessions would end: write --yes if no terminal can be asked.", UNUSABLE)
        self._show(tally, Console(stderr=True, highlight=False, markup=False))
        if not typer.confirm(f"End these {tally.fitting:,} sessions?", err=True):
            fail("None was ended.", FAILED)

    def _report(self, tally: _Tally) -> None:
        if self._as_json:
            facts = {"fitting": tally.fitting, "ended": tally.ended, "looked_at": tally.looked_at}
            write_json_object({**facts, "dry_run": self._dry_run, "complete": not tally.stopped})
        elif self._dry_run:
            self._show(tally, Console(highlight=False, markup=False))
            typer.echo(f"{_count(tally.fitting)} would end. None was ended.")
        elif not tally.stopped:
            typer.echo(f"{_count(tally.ended)} ended.")
        if tally.stopped:
            fail(f"Interrupted: {_so_far(tally)}", INTERRUPTED)

    def _show(self, tally: _Tally, console: Console) -> None:
        if tally.some:
            frontends = len(frontends_of(self._settings)) > 1
            write_lines(console, tally.some, time.time(), head=True, frontends=frontends)
        if tally.fitting > len(tally.some):
            console.print(f"… and {tally.fitting - len(tally.some):,} more")


def shell_user() -> str:
    """The user at this shell, as far as the system knows: the one behind sudo, too."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return f"uid {os.getuid()}"


def _so_far(tally: _Tally) -> str:
    return (
        f"{_count(tally.ended)} ended, {tally.looked_at:,} looked at; the rest live. "
        "The same command goes on with them."
    )


def _count(number: int) -> str:
    return "one session" if number == 1 else f"{number:,} sessions"
