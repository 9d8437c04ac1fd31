"""The audit events' document, held against the set and against the code that emits them."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from bff.observe.audit_events import EVENTS
from tests.docs import audit_doc
from tests.structure.source import ROOT

pytestmark = pytest.mark.requirement("B-27")

ALLOWED = {
    "authentication": {"start", "end", "info"},
    "session": {"start", "end", "info"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "intrusion_detection": {"allowed", "denied", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
}
"""The event types that ECS expects of a category."""


class Call(NamedTuple):
    """A call of `audit` in the code."""

    place: str
    events: tuple[str, ...]
    fields: frozenset[str]
    open: bool  # it passes on fields that its caller chose


def names(argument: ast.expr) -> Iterator[str]:
    """The events that a first argument can stand for; only literals are taken."""
    if isinstance(argument, ast.IfExp):
        yield from names(argument.body)
        yield from names(argument.orelse)
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Every node of the code with the file that it stands in."""
    return [
        (str(path.relative_to(ROOT)), node)
        for path in sorted((ROOT / "bff").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]


def audits(path: str, node: ast.AST) -> frozenset[str] | None:
    """The fields that a call of `audit`, or of `Sessions.audit`, adds; None for anything else."""
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Attribute) and node.func.attr == "audit":
        return frozenset({"sub", "session"})
    passes_on = path == "bff/session/sessions.py" and isinstance(
        node.args[0] if node.args else None, ast.Name
    )
    return (
        frozenset() if isinstance(node.func, ast.Name) and node.func.id == "audit" and not passes_on else None
    )


@cache
def calls() -> list[Call]:
    found = []
    for path, node in nodes():
        if (added := audits(path, node)) is not None:
            assert isinstance(node, ast.Call)
            fields = {keyword.arg for keyword in node.keywords} | added
            given = frozenset(field for field in fields if field is not None)
            place = f"{path}:{node.lineno}"
            found.append(Call(place, tuple(names(node.args[0])), given, None in fields))
    return found


def test_only_described_events_are_emitted() -> None:
    """Each call names its event in the code, and it is one of the set."""
    assert calls()
    assert [] == [call for call in calls() if not call.events or set(call.events) - set(EVENTS)]


@pytest.mark.parametrize("event", EVENTS)
def test_an_example_is_what_the_code_emits(event: Any) -> None:
    """Somewhere the event is emitted, and there with all fields of its example."""
    emitting = [call for call in calls() if event in call.events]
    assert emitting, "nothing emits it"
    example = set(EVENTS[event].example)
    assert [call for call in emitting if example <= call.fields or (call.open and example & call.fields)]


@pytest.mark.parametrize("event", EVENTS)
def test_fields_of_its_own_are_explained(event: Any) -> None:
    """What is no field of the common table is named in the event's description, or in its example."""
    common = {"sub", "session", "address", "reason", "frontend", "provider"}
    own = {field for call in calls() if event in call.events for field in call.fields} - common
    shown = EVENTS[event]
    assert set() == {field for field in own if f"`{field}`" not in shown.when and field not in shown.example}


@cache
def literals() -> set[str]:
    return {
        node.value
        for path, node in nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if not path.endswith("audit_events.py")
    }


@pytest.mark.parametrize("event", EVENTS)
def test_the_reason_of_an_example_is_one_of_ours(event: Any) -> None:
    """It stands in the code, word for word."""
    reason = EVENTS[event].example.get("reason")
    assert reason is None or reason in literals()


@pytest.mark.parametrize("event", EVENTS)
def test_the_words_are_those_of_the_schema(event: Any) -> None:
    """Category and type go together as ECS expects."""
    described = EVENTS[event]
    assert described.category
    for category in described.category:
        assert set() == set(described.type) - ALLOWED[category]


def test_the_document_is_up_to_date() -> None:
    """`python3 -m tests.docs.audit_doc` writes it, its examples by the product's own code."""
    written = audit_doc.PATH.read_text(encoding="utf-8")
    assert audit_doc.text() == written, "run python3 -m tests.docs.audit_doc"
    examples = [json.loads(found) for found in re.findall(r"```json\n(.*?)\n```", written, re.DOTALL)]
    assert list(EVENTS) == [found["event"]["action"] for found in examples]
