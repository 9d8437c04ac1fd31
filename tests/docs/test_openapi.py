"""`bff/web/openapi.yaml` describes `/bff/*`: all endpoints, codes and reasons.

The browsers of `tests/web` and of `tests/flow` hold each real answer to it.
"""

import json
import re
from typing import get_args

import pytest
from openapi_spec_validator import validate

from bff import __version__
from bff.errors import Problem
from bff.policy.csrf import Reason
from bff.policy.forward_auth_request import FORWARD_AUTH
from bff.problems import problem_response
from bff.session.model import EndReason
from tests.structure.source import ROOT
from tests.support.conformance import complaints, validator
from tests.support.openapi import description, operations

PROBLEM = "/components/schemas/Problem"
WEB = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "bff" / "web").glob("*.py")))
ELSEWHERE = {"/bff/client.js", "/bff/client.d.ts", FORWARD_AUTH.decode()}
BY_NAVIGATION = {"fetch_mode", "sid"}
"""Reasons of the endpoints that take navigations, beside the guard's own."""


def test_it_is_an_openapi_document_of_this_version() -> None:
    """By the standard's own schema (OpenAPI 3.1)."""
    validate(description())
    assert __version__ == description()["info"]["version"]


def test_every_endpoint_is_described() -> None:
    """Those that are routed, and no others: describe a new one in `bff/web/openapi.yaml`."""
    routed = set(re.findall(r'"(/bff/[a-z./{}-]+)"', WEB)) - {"/bff/{name}"} | ELSEWHERE
    assert routed == {path for path, _ in operations()}


@pytest.mark.parametrize("problem", list(Problem), ids=lambda problem: problem.code)
def test_every_problem_is_described(problem: Problem) -> None:
    """The document that the product renders is valid; with another status or an unknown member it is not."""
    detail, reason = ("Why.", "origin") if problem is Problem.CSRF_REJECTED else ("", None)
    body = json.loads(problem_response(problem, detail=detail, reason=reason)[2])
    check = validator(PROBLEM)
    assert [] == list(check.iter_errors(body))
    assert list(check.iter_errors(body | {"status": 418}))
    assert list(check.iter_errors(body | {"more": "than described"}))


def test_the_codes_and_reasons_are_the_closed_sets() -> None:
    """None is described that cannot come."""
    schemas = description()["components"]["schemas"]
    codes = [code for each in schemas["Problem"]["oneOf"] for code in each["properties"]["code"]["enum"]]
    assert sorted(problem.code for problem in Problem) == sorted(codes)
    assert [reason.value for reason in EndReason] == schemas["EndReason"]["enum"]
    assert {*get_args(Reason), *BY_NAVIGATION} == set(schemas["CsrfReason"]["enum"])


def test_the_check_finds_what_is_not_as_described() -> None:
    """A missing member, a status, a content type and a header."""
    kind = {"content-type": "application/json"}
    assert complaints("GET", "/bff/sessions", 200, kind, b'{"sessions":[{}]}')
    assert complaints("GET", "/bff/sessions", 204, kind, b"")
    assert complaints("GET", "/bff/sessions", 200, {"content-type": "text/plain"}, b"")
    refused = problem_response(Problem.RATE_LIMITED)[2]
    problem = {"content-type": "application/problem+json"}
    assert ["Retry-After: is missing"] == complaints("POST", "/bff/refresh", 429, problem, refused)
    assert [] == complaints("POST", "/bff/refresh", 429, problem | {"Retry-After": "5"}, refused)
