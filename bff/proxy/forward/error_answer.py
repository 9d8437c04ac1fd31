"""The error answer to a call that the proxy refuses, or that fails before a backend's answer has begun.

Rule 1: programs and scripts get a problem document; a person who has navigated there gets a page with the
same words, or is led to the application's own (`spa.error_page`).
"""

from typing import Any

from bff.errors import Problem
from bff.policy.admission import RequestHead
from bff.policy.fields import Header
from bff.policy.navigation import navigates
from bff.policy.step_up import Demand
from bff.problems import error_redirect, problem_response
from bff.proxy.forward.forwarding_context import ForwardingContext

Answer = tuple[int, list[Header], bytes]
"""An answer's status, header and content."""


def problem_answer(
    context: ForwardingContext, problem: Problem, *, demand: Demand | None = None, **parts: Any
) -> Answer:
    """Counts a problem that a client is told, and renders it; with the sign-in that meets a demand."""
    context.metrics.problem_sent(problem)
    login_url = context.login_url if demand is None else f"{context.login_url}?{demand.query()}"
    return problem_response(problem, login_url=login_url, home=context.home, **parts)


def error_answer(
    context: ForwardingContext, problem: Problem, request: RequestHead, *, of_program: bool, **parts: Any
) -> Answer:
    """Returns the answer to a request; one `of_program` has a token of its own, and no page is for it."""
    page = navigates(request.fields.headers) and not of_program
    answer = problem_answer(context, problem, page=page, **parts)
    return (page and error_redirect(problem, context.error_page, request.raw_path)) or answer
