"""Answers of the proxy's own endpoints. None of them is ever cached (RFC 10017, OWASP ASVS 14.2)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bff.errors import Problem
from bff.policy.address import client_address
from bff.problems import problem_response

NO_STORE = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def problem_answer(problem: Problem, **extra: Any) -> Response:
    """A problem as a Starlette response; `extra` as for `problem_response`."""
    status, headers, body = problem_response(problem, **extra)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


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


def address_of(request: Request, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """The client's address, as far as trusted proxies tell (B-17)."""
    forwarded = [value for name, value in request.scope["headers"] if name == b"x-forwarded-for"]
    return client_address(request.client.host if request.client else None, forwarded, trusted)


def cookie_headers(request: Request) -> list[bytes]:
    """The values of a request's Cookie headers, byte for byte."""
    return [value for name, value in request.scope["headers"] if name == b"cookie"]
