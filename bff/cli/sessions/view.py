"""Sessions for people, a line each, and for programs: one JSON object a line.

Text from clients and providers is shown without the characters that control a terminal.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from bff.observe.redact import one_line
from bff.policy.user_agents import described
from bff.session.operator_view import Entry
from bff.settings.frontends import UNNAMED

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_HEAD = ("session", "begun", "idle", "frontend", "provider", "user", "who", "from", "browser")
_WIDTHS = (12, 7, 7, 10, 10, 36, 26, 15, 0)  # a `sub` is a UUID at many providers
_FRONTEND = 3  # the column
_LONGEST = 40  # characters of what a browser says of itself, where it is none that we know


def span(seconds: float | None) -> str:
    """A duration in words of two units at most: 45s, 12m, 3h05m, 2d4h."""
    if seconds is None:
        return "?"
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR}h"


def moment(seconds: float | None) -> str | None:
    """A moment in ISO 8601."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None  # somebody else wrote that


def write_lines(
    console: Console, entries: Iterable[Entry], now: float, *, head: bool, frontends: bool = False
) -> None:
    """Writes a line for each session, under a head if asked for, with the `frontends` if asked for."""
    if head:
        console.print(_line(_HEAD, frontends=frontends), style="bold", soft_wrap=True)
    for entry in entries:
        texts = (
            entry.id,
            "?" if entry.created is None else span(now - entry.created),
            "?" if entry.seen is None else span(now - entry.seen),
            frontend_of(entry),
            entry.provider,
            entry.sub,
            who(entry),
            entry.address,
            browser(entry),
        )
        console.print(_line(texts, frontends=frontends), soft_wrap=True)


def frontend_of(entry: Entry) -> str:
    """The name of the session's frontend, as `--frontend` takes it."""
    return entry.frontend or UNNAMED


def who(entry: Entry) -> str:
    """The user in words: a readable claim, else the name."""
    return next(iter(entry.claims.values()), "") or entry.name


def browser(entry: Entry) -> str:
    """The browser and its system in words."""
    return _browser(entry.user_agent)


@lru_cache(maxsize=1024)
def _browser(user_agent: str) -> str:
    device = described(user_agent)
    words = ", ".join(part for part in (device.browser, device.system) if part)
    return words or user_agent[:_LONGEST]


def facts(entry: Entry) -> dict[str, Any]:
    """A session for programs."""
    return {
        "id": entry.id,
        "key": entry.key,
        "user": entry.sub,
        "name": entry.name,
        "claims": dict(entry.claims),
        "provider": entry.provider,
        "frontend": entry.frontend or None,
        "sid": entry.sid,
        "created": moment(entry.created),
        "last_seen": moment(entry.seen),
        "ends": moment(entry.ends),
        "address": entry.address,
        "browser": browser(entry),
        "user_agent": entry.user_agent,
        "bound": entry.bound,
        "version": entry.version,
    }


def write_json_object(facts: dict[str, Any]) -> None:
    """Writes one JSON object."""
    typer.echo(json.dumps(facts, indent=2))


def write_json(entries: Iterable[Entry]) -> None:
    """Writes one JSON object a line."""
    for entry in entries:
        typer.echo(json.dumps(facts(entry)))


def clean(text: str) -> str:
    """The text without the characters that control a terminal."""
    return one_line(text)


def _line(texts: Iterable[str], *, frontends: bool) -> Text:
    cells = [f"{clean(text):<{width}}" for text, width in zip(texts, _WIDTHS, strict=True)]
    if not frontends:
        del cells[_FRONTEND]
    return Text(" ".join(cells).rstrip())
