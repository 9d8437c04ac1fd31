"""The result of one look of `bff check`, and how a discovery document lists things. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one look. A `fix` beside `ok` is advice."""

    name: str
    target: str
    ok: bool
    detail: str
    fix: str = ""


def names_of(document: Mapping[str, Any], member: str) -> list[str] | None:
    """Returns the list of names in a document; None where there is none."""
    value = document.get(member)
    return [str(item) for item in value] if isinstance(value, list) else None
