"""Answers of the proxy's own endpoints. None of them is ever cached (RFC 10017, OWASP ASVS 14.2)."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from bff.errors import Problem
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


def cookie_headers(request: Request) -> list[bytes]:
    """The values of a request's Cookie headers, byte for byte."""
    return [value for name, value in request.scope["headers"] if name == b"cookie"]
