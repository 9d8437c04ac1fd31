"""The result of one look of `bff check`, and how a discovery document lists things. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one look.

    Attributes:
        name: what was looked at.
        target: its address.
        ok: nothing is wrong.
        detail: the finding.
        fix: what to do about it; beside `ok` it is advice.
        frontend: the name of the frontend that it is about; "" where it is about all.
    """

    name: str
    target: str
    ok: bool
    detail: str
    fix: str = ""
    frontend: str = ""


def names_of(document: Mapping[str, Any], member: str) -> list[str] | None:
    """Returns the list of names in a document; None where there is none."""
    value = document.get(member)
    return [str(item) for item in value] if isinstance(value, list) else None
