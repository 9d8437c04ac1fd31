"""The options that select sessions: by user, claim, provider, frontend, age."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from bff.session.operator_view import Selection
from bff.settings.frontends import UNNAMED
from bff.settings.value_types import parse_duration


def parse_moment(text: str) -> float:
    """Reads an ISO 8601 time (UTC without an offset), or a duration before now: seconds since the epoch."""
    try:
        return time.time() - float(parse_duration(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write 2h, 7d, or 2026-11-28T12:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_span(text: str) -> float:
    """Seconds of a duration."""
    try:
        return float(parse_duration(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}") from None


def parse_claim(text: str) -> tuple[str, str]:
    """A claim's name and value."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"{text!r}: write NAME=VALUE, as in email=alice@example.com")
    return name, value


UserOption = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="SUB", help="Sessions of this user, by the `sub` of the logs."),
]
ProviderOption = Annotated[
    str | None, typer.Option("--provider", metavar="NAME", help="Sessions of this provider (provider.name).")
]
FrontendOption = Annotated[
    str | None,
    typer.Option(
        "--frontend",
        metavar="NAME",
        help=f"Sessions of this frontend (frontend.name); {UNNAMED}: of the one without a name.",
    ),
]
ClaimOption = Annotated[
    str | None,
    typer.Option(
        "--claim",
        metavar="NAME=VALUE",
        help="Sessions with this claim: one of session.readable_claims, or name.",
    ),
]
BeforeOption = Annotated[
    str | None,
    typer.Option(
        "--before",
        metavar="TIME",
        help="Sessions begun before: 2h (ago), 7d, or 2026-11-28T12:00+01:00 (else UTC).",
    ),
]
AfterOption = Annotated[
    str | None,
    typer.Option("--after", metavar="TIME", help="Sessions begun at that time or later; like --before."),
]
IdleOption = Annotated[
    str | None, typer.Option("--idle", metavar="SPAN", help="Sessions idle for at least this long: 20m.")
]
FastOption = Annotated[
    bool,
    typer.Option(
        "--fast",
        help="Do not give way to live traffic: half the time, but requests may have to wait.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


def advice_for_none(selection: Selection) -> str:
    """Returns advice where nothing fits because `--user` was given an email address; else "".

    A `sub` may look like an address too: so nothing is refused.
    """
    if selection.sub is None or "@" not in selection.sub:
        return ""
    return f"--user takes a `sub`; by address: --claim email={selection.sub}"


def selection_of(
    *,
    user: str | None,
    provider: str | None,
    frontend: str | None,
    claim: str | None,
    before: str | None,
    after: str | None,
    idle: str | None,
    known: tuple[str, ...],
) -> Selection:
    """The selection that the options make; `known` are the claims that a selection may name."""
    pair = None if claim is None else parse_claim(claim)
    if pair is not None and pair[0] not in {*known, "name"}:
        there = ", ".join(known) or "none"
        raise typer.BadParameter(f"{pair[0]!r} is not readable in Redis: session.readable_claims has {there}")
    return Selection(
        sub=user,
        provider=provider,
        frontend="" if frontend == UNNAMED else frontend,
        claim=pair,
        begun_before=None if before is None else parse_moment(before),
        begun_after=None if after is None else parse_moment(after),
        idle_for=None if idle is None else parse_span(idle),
    )
