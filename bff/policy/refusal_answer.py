"""The answer to a request that the connection itself refuses: a problem document, or a page for a person."""

from bff.errors import Problem
from bff.policy.fields import Header
from bff.policy.forward_auth_request import wants_unauthorized
from bff.policy.navigation import navigates
from bff.policy.request_refusal import Refusal
from bff.problems import problem_response


def refusal_answer(refusal: Refusal) -> tuple[int, list[Header], bytes]:
    """Returns status, header and content; the answer to a HEAD has no content.

    A question of nginx' gets the 401 that it asks for: nginx makes 500 of any other refusal, which the client
    would get for a mistake of its own.
    """
    first, *others = refusal.head.split(b"\r\n")
    lines = (line.partition(b":") for line in others)
    page = navigates([(name.lower(), value.strip()) for name, _, value in lines])
    status, headers, body = problem_response(
        refusal.problem, detail=refusal.detail, page=page, home=refusal.home
    )
    if wants_unauthorized(first):
        status = Problem.SESSION_MISSING.status
    return status, headers, b"" if first.startswith(b"HEAD ") else body
