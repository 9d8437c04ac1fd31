"""Troubleshooting has an entry for each code and for each log event of warning or above."""

import json
import re
from typing import get_args

import pytest

from bff.errors import Problem
from bff.policy.csrf import Guard, Reason
from bff.problems import problem_response
from bff.session.model import EndReason
from tests.docs.log_events import loud_events
from tests.docs.pages import page, section

CODES, LOG = (page(f"troubleshooting/{name}.md") for name in ("codes", "log"))
ROW = re.compile(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", re.MULTILINE)


@pytest.mark.parametrize("problem", list(Problem), ids=lambda problem: problem.code)
def test_every_code_has_an_entry(problem: Problem) -> None:
    """A heading of its own, and text below it."""
    assert len(section("troubleshooting/codes.md", f"`{problem.code}`")) > 60


def test_no_entry_is_of_a_code_that_is_gone() -> None:
    """The headings are the closed set."""
    assert {problem.code for problem in Problem} == set(re.findall(r"^## `(\w+)`", CODES, re.MULTILINE))


def test_every_loud_event_has_a_row() -> None:
    """Those of warning and above, as they stand in the code; and no others."""
    named = {event.strip("`") for cell in ROW.findall(LOG) for event in cell.split(", ")}
    assert len(loud_events()) > 40
    assert (set(), set()) == (set(loud_events()) - named, named - set(loud_events()))


def test_the_example_is_the_products_own() -> None:
    """`csrf_rejected` says in its body which header to send, as the page shows it."""
    guard = Guard(b"https://app.example.com", b"x-csrf", "X-CSRF")
    detail = guard.explain("csrf_header_missing")
    _, _, body = problem_response(Problem.CSRF_REJECTED, detail=detail, reason="csrf_header_missing")
    shown = (
        section("troubleshooting/codes.md", "`csrf_rejected`").partition("```json\n")[2].partition("```")[0]
    )
    assert json.loads(body) == json.loads(shown)
    assert "`X-CSRF: 1`" in json.loads(body)["detail"]


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_of_a_csrf_refusal_has_a_row(reason: str) -> None:
    """As the body's `reason` has it."""
    assert f"| `{reason}` |" in section("troubleshooting/codes.md", "`csrf_rejected`")


@pytest.mark.parametrize("reason", [each for each in EndReason if each is not EndReason.LOGOUT])
def test_every_reason_of_an_end_has_a_row(reason: EndReason) -> None:
    """What a page is told, in one of the rows of `Signed out too soon`."""
    assert f"`{reason}`" in section("troubleshooting/index.md", "Signed out too soon")
