"""Answers of the proxy's own endpoints. None of them is ever cached (RFC 10017, OWASP ASVS 14.2)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, assert_never

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from bff.errors import Problem, ProviderUnavailableError
from bff.observe.logs import audit, get_logger
from bff.oidc.token_errors import ClientRefusedError
from bff.policy.client_address import client_address, is_trusted
from bff.policy.csrf import DOCUMENTED
from bff.policy.navigation import not_navigated
from bff.problems import LOGIN, problem_response

NO_STORE = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

_log = get_logger("bff.web")


def login_url(request: HTTPConnection) -> str:
    """The address of the sign-in, for a request of a route of ours: these are mounted at the base path."""
    return str(request.scope.get("root_path", "")) + LOGIN


def problem_answer(problem: Problem, **extra: Any) -> Response:
    """A problem as a Starlette response; `extra` as for `problem_response`."""
    status, headers, body = problem_response(problem, **extra)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


def provider_problem(failure: ProviderUnavailableError) -> Response:
    """The problem for a provider's failure: out of reach, or refusing this client.

    The log says why the provider was out of reach; a refusal has been logged with the provider's words.
    """
    refused = isinstance(failure, ClientRefusedError)
    if not refused:
        _log.warning("provider_unavailable", session=None, cause=str(failure))
    problem = Problem.PROVIDER_REFUSED_CLIENT if refused else Problem.PROVIDER_UNAVAILABLE
    return problem_answer(problem, retry_after=failure.retry_after)


def provider_reason(failure: ProviderUnavailableError) -> str:
    """Returns the reason of a provider's failure, for the audit log."""
    return "provider_refused_client" if isinstance(failure, ClientRefusedError) else "provider_unavailable"


def not_allowed(
    request: Request, *, another_account: bool, provider: str | None, set_cookies: Iterable[str]
) -> Response:
    """The refusal of a sign-in by its provider's rule; it may offer a sign-in with another account there."""
    there = "" if provider is None else f"&provider={provider}"
    url = f"{login_url(request)}?prompt=select_account{there}" if another_account else None
    response = problem_answer(Problem.NOT_ALLOWED, other_account_url=url)
    for value in set_cookies:
        response.headers.append("set-cookie", value)
    return response


def json_answer(
    document: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer."""
    body = json.dumps(document).encode()
    return Response(body, status, {**NO_STORE, **(headers or {})}, media_type="application/json")


def redirect(
    status: int, location: str, *, set_cookies: Iterable[str] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """A redirect without a body; each cookie gets a header field of its own."""
    response = Response(b"", status, {**NO_STORE, **(headers or {}), "location": location})
    for value in set_cookies:
        response.headers.append("set-cookie", value)
    return response


def no_navigation(request: Request, address: str, frontend: str, allow: str = "GET") -> Response | None:
    """The refusal of a GET that acts and is no navigation; None for a navigation (B-37).

    503 to a prefetch: browsers throw such an answer away, and ask again when the user really goes there; a
    204 could be taken for the real answer. `allow` are the methods that do act; address and frontend are for
    the audit log.
    """
    why = not_navigated(request.method, request.scope["headers"])
    match why:
        case None:
            return None
        case "head":
            return problem_answer(Problem.METHOD_NOT_ALLOWED, headers=[(b"allow", allow.encode("ascii"))])
        case "prefetch":
            return problem_answer(Problem.PREFETCH_REFUSED)
        case "fetch_mode":
            audit("csrf_rejected", address=address, reason=why, frontend=frontend)
            detail = f"Go to this address by a navigation: it answers no script's request. {DOCUMENTED}."
            return problem_answer(Problem.CSRF_REJECTED, detail=detail, reason=why)
        case other:
            assert_never(other)


def address_of(request: HTTPConnection, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """The client's address, as far as trusted proxies tell (B-17)."""
    forwarded = [value for name, value in request.scope["headers"] if name == b"x-forwarded-for"]
    peer = request.client.host if request.client else None
    address = client_address(peer, forwarded, trusted)
    if forwarded and peer is not None:
        _tell_unnamed(peer, tuple(trusted))
    return address


@lru_cache(maxsize=64)
def _tell_unnamed(peer: str, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
    """Says of a peer, once, that its X-Forwarded-For is not believed: all behind it share one address."""
    if is_trusted(peer, trusted):
        return
    _log.warning(
        "forwarded_for_ignored",
        peer=peer,
        problem="it is none of server.trusted_proxies: if it is your reverse proxy, all clients share one "
        "address, and the limits on sign-ins count them together",
    )


def cookie_headers(request: HTTPConnection) -> list[bytes]:
    """The values of a request's Cookie headers, byte for byte."""
    return [value for name, value in request.scope["headers"] if name == b"cookie"]
