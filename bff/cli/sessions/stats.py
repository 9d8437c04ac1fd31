"""`bff sessions stats`: the number of sessions, their ages, and their memory."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.filesize import decimal

from bff.cli.sessions.access import INTERRUPTED, Stop, load_settings, progress, run, say
from bff.cli.sessions.options import FastOption, JsonOption
from bff.cli.sessions.view import clean, frontend_of, span, write_json_object
from bff.cli.settings import ConfigOption
from bff.command_line import CommandLine, examples
from bff.session.operator_actions import OperatorActions, Step
from bff.session.operator_view import Selection
from bff.settings.frontends import UNNAMED

_MINUTE, _HOUR = 60.0, 3600.0
_AGES = (5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, 12 * _HOUR, 24 * _HOUR, 7 * 24 * _HOUR)
_BAR = 40  # characters of the longest

app = CommandLine()


class Stats:
    """The counts. An age counts under the first bound above it; None is above all of them."""

    def __init__(self) -> None:
        self.sessions = 0
        self.providers: Counter[str] = Counter()
        self.frontends: Counter[str] = Counter()
        self.ages: Counter[float | None] = Counter()
        self.idle: Counter[float | None] = Counter()
        self.sampled = 0
        self.sampled_bytes = 0
        self.used: int | None = None
        self.stopped = False

    def add(self, step: Step, sizes: Sequence[int], now: float) -> None:
        """Counts a part of the sessions; the sizes of some are known."""
        self.sessions += len(step.entries)
        for entry in step.entries:
            self.providers[entry.provider] += 1
            self.frontends[frontend_of(entry)] += 1
            if entry.created is not None:
                self.ages[_bound(now - entry.created)] += 1
            if entry.seen is not None:
                self.idle[_bound(now - entry.seen)] += 1
        self.sampled += len(sizes)
        self.sampled_bytes += sum(sizes)

    @property
    def session_bytes(self) -> float | None:
        """Bytes of a session's hash on average."""
        return self.sampled_bytes / self.sampled if self.sampled else None

    def facts(self) -> dict[str, Any]:
        """All counts, for programs."""
        each = self.session_bytes
        return {
            "sessions": self.sessions,
            "providers": dict(self.providers.most_common()),
            "frontends": dict(self.frontends.most_common()),
            "age": _histogram(self.ages),
            "idle": _histogram(self.idle),
            "session_bytes": None if each is None else round(each),
            "sessions_bytes": None if each is None else round(each * self.sessions),
            "redis_bytes": self.used,
            "complete": not self.stopped,
        }


@app.command(
    epilog=examples(
        "bff sessions stats",
        "bff sessions stats --json | jq .sessions",
    ),
)
def stats(as_json: JsonOption = False, fast: FastOption = False, config: ConfigOption = None) -> None:
    """Count the sessions: by provider, frontend, age and idle time; and their memory, from a sample."""
    settings = load_settings(config)
    found = Stats()
    run(settings, lambda actions, stop: _count(actions, stop, found), fast=fast)
    if as_json:
        write_json_object(found.facts())
    else:
        _write(found)
    if found.stopped:
        say(f"Interrupted: of {found.sessions:,} sessions; there are more.")
        raise typer.Exit(INTERRUPTED)


async def _count(actions: OperatorActions, stop: Stop, found: Stats) -> None:
    found.used = await actions.used_memory()
    with progress("counting") as tell:
        async for step in actions.find(Selection()):
            sizes = await actions.sizes(step.entries[:1])
            found.add(step, sizes, time.time())
            tell(step.done, f"{found.sessions:,} sessions")
            if stop.asked:
                found.stopped = True
                return


def _bound(seconds: float) -> float | None:
    return next((bound for bound in _AGES if seconds < bound), None)


def _histogram(counts: Counter[float | None]) -> dict[str, int]:
    named = {f"under {span(bound)}": counts[bound] for bound in _AGES}
    return {**named, f"{span(_AGES[-1])} and more": counts[None]}


def _write(found: Stats) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{found.sessions:,} sessions", style="bold")
    for provider, count in found.providers.most_common():
        console.print(f"  {count:>12,}  {clean(provider)}")
    if set(found.frontends) - {UNNAMED}:
        console.print("at", style="bold")
        for frontend, count in found.frontends.most_common():
            console.print(f"  {count:>12,}  {clean(frontend)}")
    for title, counts in (("begun, ago", found.ages), ("not used for", found.idle)):
        console.print(title, style="bold")
        most = max(counts.values(), default=0)
        for words, count in _histogram(counts).items():
            bar = "▇" * -(-_BAR * count // most) if count else ""
            console.print(f"  {count:>12,}  {words:<14} {bar}".rstrip())
    console.print("memory", style="bold")
    each = found.session_bytes
    if each is not None:
        console.print(f"  {decimal(round(each * found.sessions)):>12}  sessions, {round(each):,} bytes each")
    console.print(f"  {'unknown' if found.used is None else decimal(found.used):>12}  Redis, all in all")
