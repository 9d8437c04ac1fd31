"""Problems as HTTP answers."""

import json

import pytest

from bff.errors import Problem, problem_named
from bff.problems import problem_response


@pytest.mark.requirement("B-25", "B-28")
@pytest.mark.parametrize("problem", list(Problem), ids=lambda problem: problem.code)
def test_every_problem_is_a_complete_answer(problem: Problem) -> None:
    """Status, code and type are right, the length fits, and nothing may be cached."""
    status, headers, body = problem_response(problem, detail="why", instance=None, reason="logout")
    fields, document = dict(headers), json.loads(body)
    assert (problem.status, problem.code, problem.status) == (status, document["code"], document["status"])
    assert (b"application/problem+json", b"no-store") == (fields[b"content-type"], fields[b"cache-control"])
    assert str(len(body)).encode() == fields[b"content-length"]
    assert ("why", "logout") == (document["detail"], document["reason"])
    assert "instance" not in document
    assert (problem.status == 401) == ("login_url" in document)
    assert (problem.status in {429, 503}) == (b"retry-after" in fields)


def test_codes_are_unique() -> None:
    """Two problems never share a code."""
    assert len(Problem) == len({problem.code for problem in Problem})
    assert Problem.NO_ROUTE is problem_named("no_route")


@pytest.mark.parametrize(("given", "sent"), [(None, b"5"), (0.2, b"1"), (7.1, b"8")])
def test_a_wait_is_told_in_whole_seconds(given: float | None, sent: bytes) -> None:
    """Never 0, which would call the client back at once."""
    _, headers, _ = problem_response(Problem.STORE_UNAVAILABLE, retry_after=given)
    assert sent == dict(headers)[b"retry-after"]
    _, headers, _ = problem_response(Problem.NO_ROUTE, retry_after=given, headers=[(b"allow", b"GET")])
    assert b"retry-after" not in dict(headers)
    assert b"GET" == dict(headers)[b"allow"]
