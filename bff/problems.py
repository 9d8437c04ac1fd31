"""Problems as HTTP answers: RFC 9457 problem details with a stable `code`."""

import json
import math
from collections.abc import Sequence
from typing import Any

from bff.errors import Problem

Header = tuple[bytes, bytes]

_SIGN_IN_AGAIN = frozenset({Problem.SESSION_MISSING, Problem.SESSION_EXPIRED, Problem.SESSION_ENDED})
_COME_BACK = frozenset(problem for problem in Problem if problem.status in {429, 503})
_DEFAULT_WAIT = 5.0


def problem_response(
    problem: Problem,
    *,
    detail: str = "",
    retry_after: float | None = None,
    headers: Sequence[Header] = (),
    **extra: Any,
) -> tuple[int, list[Header], bytes]:
    """Renders a problem: `(status, headers, body)`, complete with Content-Length.

    `detail` is shown to the client, so it must hold nothing that came out of a token or a cookie.
    `retry_after` is in seconds; 429 and 503 answers carry one in any case (RFC 9110 10.2.3). `extra`
    members are added to the body; those that are None are left out.
    """
    value = problem.value
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": value.title,
        "status": value.status,
        "code": value.code,
    }
    if detail:
        document["detail"] = detail
    if problem in _SIGN_IN_AGAIN:
        document["login_url"] = "/bff/login"
    document.update((name, member) for name, member in extra.items() if member is not None)
    body = json.dumps(document).encode()
    rendered: list[Header] = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *headers,
    ]
    if problem in _COME_BACK:
        wait = _DEFAULT_WAIT if retry_after is None else max(retry_after, 1.0)
        rendered.append((b"retry-after", str(math.ceil(wait)).encode()))
    return value.status, rendered, body
