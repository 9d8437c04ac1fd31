"""Problems as HTTP answers."""

import html
import json
import re

import pytest

from bff.errors import Problem, problem_named
from bff.problems import error_redirect, problem_response


def leads_to_sign_in(problem: Problem) -> bool:
    """A 401 does, unless it is about a token that a program brings itself."""
    return problem.status == 401 and problem is not Problem.INVALID_TOKEN


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
    assert leads_to_sign_in(problem) == ("login_url" in document)
    assert (problem.status in {429, 503}) == (b"retry-after" in fields)


@pytest.mark.requirement("B-25", "B-28", "B-38")
@pytest.mark.parametrize("problem", list(Problem), ids=lambda problem: problem.code)
def test_every_problem_is_a_page_too(problem: Problem) -> None:
    """The same status and fields; title, code and a way on, which is sign-in after a 401."""
    status, headers, body = problem_response(problem, detail="why", page=True, headers=[(b"allow", b"GET")])
    fields, text = dict(headers), body.decode()
    assert (problem.status, str(len(body)).encode()) == (status, fields[b"content-length"])
    assert (b"text/html; charset=utf-8", b"no-store") == (fields[b"content-type"], fields[b"cache-control"])
    assert (b"nosniff", b"GET") == (fields[b"x-content-type-options"], fields[b"allow"])
    assert len(headers) == len(fields)
    assert (problem.status in {429, 503}) == (b"retry-after" in fields)
    assert text.startswith("<!doctype html>")
    assert f"<h1>{html.escape(problem.value.title)}</h1><p>why</p>" in text
    later = problem.status in {429, 502, 503, 504} and problem is not Problem.PROVIDER_REFUSED_CLIENT
    assert later == ("Try again" in text)
    assert f"{problem.status} {problem.code}" in text
    assert ('href="/bff/login"' in text) == leads_to_sign_in(problem)


@pytest.mark.requirement("B-38")
def test_a_page_is_escaped_and_runs_nothing() -> None:
    """No markup comes out of a detail; nothing is loaded or run, and no one frames it."""
    hostile = """<script>alert(1)</script>"'&<img src=x onerror=alert(1)>"""
    _, headers, body = problem_response(Problem.BAD_REQUEST, detail=hostile, page=True)
    text = body.decode()
    assert html.escape(hostile) in text
    assert ["<h1", "<p", "<p", "<p", "<small"] == re.findall(r"<(?:h1|p|small|script|img)", text)
    policy = dict(headers)[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in text
    assert " style=" not in text


@pytest.mark.requirement("B-38")
def test_a_person_is_shown_what_to_write() -> None:
    """Words between backticks are set as code; a lone backtick, and markup between them, stay text."""
    _, _, body = problem_response(Problem.CSRF_REJECTED, detail='send `X-CSRF: 1`, `<b>"`, or `', page=True)
    assert "<p>send <code>X-CSRF: 1</code>, <code>&lt;b&gt;&quot;</code>, or `</p>" in body.decode()


@pytest.mark.requirement("B-38")
def test_a_person_is_not_sent_round_for_the_operators_fault() -> None:
    """A client that the provider refuses is refused at the next try, too."""
    text = problem_response(Problem.PROVIDER_REFUSED_CLIENT, page=True)[2].decode()
    assert "operators of this site" in text
    assert 'href="/"' in text


@pytest.mark.requirement("B-38")
def test_the_way_to_the_apps_own_error_page() -> None:
    """With the code, an older one replaced; never from itself, for a prefetch, or where there is none."""
    led = error_redirect(Problem.NO_ROUTE, "/oops?a=1&bff_error=x", b"/elsewhere")
    assert led is not None
    status, headers, body = led
    assert (303, b"/oops?a=1&bff_error=no_route", b"") == (status, dict(headers)[b"location"], body)
    assert b"no-store" == dict(headers)[b"cache-control"]
    assert None is error_redirect(Problem.NO_ROUTE, "/oops?a=1", b"/oops")
    assert None is error_redirect(Problem.PREFETCH_REFUSED, "/oops", b"/bff/login")
    assert None is error_redirect(Problem.NO_ROUTE, None, b"/elsewhere")


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


def test_a_page_that_offers_another_account() -> None:
    """A sign-in that is turned away shows the way to another one, escaped."""
    url = '/bff/login?prompt=select_account&x="'
    _, _, body = problem_response(Problem.NOT_ALLOWED, page=True, other_account_url=url)
    assert b'<a href="/bff/login?prompt=select_account&amp;x=&quot;">Sign in with another account</a>' in body
