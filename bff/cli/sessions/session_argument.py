"""A session named on the command line: by its id in the logs, or by its key in Redis."""

import re
from typing import Annotated

import typer

from bff.cli.sessions.access import fail
from bff.cli.settings import UNUSABLE
from bff.session.operator_actions import OperatorActions
from bff.session.operator_view import Entry

_BEGINNING = re.compile(r"(?:[A-Za-z0-9_.-]+:session:)?([0-9a-f]{4,64})")

IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="SESSION",
        help="The session's id in logs and lists, or its first characters; or its key in Redis.",
    ),
]


def beginning_of(text: str) -> str:
    """The beginning of a key that an argument names."""
    if (found := _BEGINNING.fullmatch(text.strip().lower())) is None:
        raise typer.BadParameter(f"{text!r} names no session: it takes at least 4 of its digits 0-9, a-f")
    return found[1]


async def the_one(actions: OperatorActions, beginning: str) -> Entry:
    """The session with this beginning; the command ends if there is none, or more than one."""
    found = await actions.named(beginning)
    if not found:
        reason = await actions.why_ended(beginning)
        fail(f"{beginning}: there is no such session" + (f", it has ended: {reason}." if reason else "."))
    if len(found) > 1:
        fail(
            f"{beginning}: several sessions begin with it, as {found[0].id} and {found[1].id}: write more.",
            UNUSABLE,
        )
    return found[0]
