"""`bff sessions show`: one session, by its id in the logs."""

import time

from rich.console import Console
from rich.text import Text

from bff.cli.sessions.access import Stop, fail, load_settings, run
from bff.cli.sessions.options import JsonOption
from bff.cli.sessions.session_argument import IdArgument, beginning_of, the_one
from bff.cli.sessions.view import browser, clean, facts, moment, span, write_json_object
from bff.cli.settings import ConfigOption
from bff.command_line import CommandLine, examples
from bff.session.operator_actions import OperatorActions
from bff.session.operator_view import Entry

app = CommandLine()


@app.command(
    epilog=examples(
        "bff sessions show 0cd6f637684b  # as a log line names it",
        "bff sessions show 0cd6 --json | jq .ends",
    ),
)
def show(session: IdArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one session: user, beginning, address, browser, end. Its tokens stay sealed."""
    settings = load_settings(config)
    beginning = beginning_of(session)

    async def work(actions: OperatorActions, _: Stop) -> tuple[Entry, float | None]:
        entry = await the_one(actions, beginning)
        return entry, await actions.left(entry)

    entry, left = run(settings, work)
    if left is None:
        fail(f"{entry.id}: it has ended just now.")
    if as_json:
        write_json_object({**facts(entry), "idle_expires_in": round(left)})
    else:
        _write(entry, left, time.time())


def _write(entry: Entry, left: float, now: float) -> None:
    console = Console(highlight=False, soft_wrap=True)
    rows = [
        ("session", entry.id),
        ("key in Redis", entry.key),
        ("user (sub)", entry.sub),
        ("name", entry.name),
        *entry.claims.items(),
        ("frontend", entry.frontend),
        ("provider", entry.provider),
        ("sign-in there (sid)", entry.sid or ""),
        ("begun", _when(entry.created, now)),
        ("last used", _when(entry.seen, now)),
        ("ends, unless used", f"in {span(left)}"),
        ("ends at the latest", moment(entry.ends) or "?"),
        ("from", entry.address),
        ("browser", browser(entry)),
        ("bound to the device", "yes" if entry.bound else ""),
        ("as it said", entry.user_agent),
        ("tokens renewed", "?" if entry.version is None else f"{entry.version - 1} times"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        if value:
            console.print(Text.assemble((f"{clean(name):<{width}}  ", "bold"), clean(value)))


def _when(seconds: float | None, now: float) -> str:
    return "?" if seconds is None else f"{moment(seconds) or '?'}, {span(now - seconds)} ago"
