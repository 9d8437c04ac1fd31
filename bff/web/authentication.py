"""Authentication of a script's request: its session, or the problem to answer with."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from starlette.requests import Request
from starlette.responses import Response

from bff.errors import Problem, StoreUnavailableError
from bff.observe.logs import audit
from bff.policy.csrf import Guard, Rejected
from bff.session.sessions import Found, NoSession, Sessions
from bff.web.accounting import name_session
from bff.web.responses import address_of, cookie_headers, login_url, problem_answer, redirect


async def signed_in(
    request: Request, sessions: Sessions, guard: Guard, trusted: Sequence[IPv4Network | IPv6Network]
) -> Found | Response:
    """Returns the session of a request that only a script of our pages may make (B-09), else the refusal."""
    address = address_of(request, trusted)
    verdict = guard.script(request.scope["headers"])
    if isinstance(verdict, Rejected):
        audit("csrf_rejected", address=address, reason=verdict.reason, frontend=sessions.frontend)
        detail = guard.explain(verdict.reason)
        return problem_answer(Problem.CSRF_REJECTED, detail=detail, reason=verdict.reason)
    try:
        found = await sessions.find(cookie_headers(request), address=address)
    except StoreUnavailableError:
        return problem_answer(Problem.STORE_UNAVAILABLE)
    if isinstance(found, NoSession):
        if found.key is not None:
            name_session(request.scope, found.key)
        return problem_answer(found.problem, reason=found.reason, login_url=login_url(request))
    name_session(request.scope, found.session.key, found.session)
    return found


async def unless_signed_in(
    request: Request, sessions: Sessions, return_to: str, address: str
) -> Response | None:
    """Returns the answer in place of a sign-in that is only for who is not signed in; None to begin it."""
    try:
        found = await sessions.find(cookie_headers(request), address=address)
    except StoreUnavailableError:
        return problem_answer(Problem.STORE_UNAVAILABLE)
    return None if isinstance(found, NoSession) else redirect(303, return_to)


def counts_as_use(request: Request) -> bool:
    """False where the page says by `?slide=false` that its user did nothing, and for HEAD (B-36)."""
    return request.method != "HEAD" and request.query_params.get("slide") != "false"
