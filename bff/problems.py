"""Problems as HTTP answers: RFC 9457 problem details with a stable `code`, and pages for people.

Rule 1: a page holds what the problem's document holds, escaped, and nothing of the request.
Rule 2: a page loads nothing and runs nothing: its policy lets through its own few lines of style alone.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bff.errors import Problem
from bff.policy.return_to import with_error

Header = tuple[bytes, bytes]

LOGIN = "/bff/login"
"""The path of the sign-in, under the base path."""

_SIGN_IN_AGAIN = frozenset(
    {
        Problem.SESSION_MISSING,
        Problem.SESSION_EXPIRED,
        Problem.SESSION_ENDED,
        Problem.STEP_UP_REQUIRED,
        Problem.BINDING_REQUIRED,
    }
)
_COME_BACK = frozenset(problem for problem in Problem if problem.status in {429, 503})
_DEFAULT_WAIT = 5.0

PROBLEM_TYPE = b"application/problem+json"
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.4rem}small{color:#666}@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}"
    "a{color:#9bf}small{color:#999}}code{font-size:.95em;overflow-wrap:anywhere}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'".encode(),
    ),
    (b"referrer-policy", b"no-referrer"),
)
"""The fields that a page has instead of the document's content type."""
_TEMPORARY = frozenset(
    problem.code
    for problem in Problem
    if problem.status in {429, 502, 503, 504} and problem is not Problem.PROVIDER_REFUSED_CLIENT
)
_CODE = re.compile("`([^`]+)`")


def problem_response(
    problem: Problem,
    *,
    detail: str = "",
    retry_after: float | None = None,
    headers: Sequence[Header] = (),
    page: bool = False,
    login_url: str = LOGIN,
    home: str = "/",
    **extra: Any,
) -> tuple[int, list[Header], bytes]:
    """Renders a problem: `(status, headers, body)`, complete with Content-Length.

    `detail` is shown to the client, so it must hold nothing that came out of a token or a cookie.
    `page` asks for HTML, for a person who has navigated here, with a link to `home`.
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
        document["login_url"] = login_url
    document.update((name, member) for name, member in extra.items() if member is not None)
    body = problem_page(document, home) if page else json.dumps(document).encode()
    kind: tuple[Header, ...] = PAGE_HEADERS if page else ((b"content-type", PROBLEM_TYPE),)
    rendered: list[Header] = [
        *kind,
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *headers,
    ]
    if problem in _COME_BACK:
        wait = _DEFAULT_WAIT if retry_after is None else max(retry_after, 1.0)
        rendered.append((b"retry-after", str(math.ceil(wait)).encode()))
    return value.status, rendered, body


def error_redirect(
    problem: Problem, error_page: str | None, path: bytes
) -> tuple[int, list[Header], bytes] | None:
    """Returns the redirect of a navigation to `spa.error_page`, with the code; None for a page of ours.

    There is none from the error page itself, which would go in circles, and none for a prefetch.
    """
    if error_page is None or problem is Problem.PREFETCH_REFUSED:
        return None
    if path == error_page.partition("?")[0].encode():
        return None
    location = with_error(error_page, problem.code).encode()
    return 303, [(b"location", location), (b"content-length", b"0"), (b"cache-control", b"no-store")], b""


def problem_page(document: Mapping[str, Any], home: str = "/") -> bytes:
    """The page of a problem's document: what happened, what can be done, and the code to report."""
    title, detail, status, code = (
        escape(str(document.get(name, ""))) for name in ("title", "detail", "status", "code")
    )
    if "login_url" in document:
        way_on = f'<a href="{escape(str(document["login_url"]))}">Sign in</a>'
    elif "other_account_url" in document:
        way_on = f'<a href="{escape(str(document["other_account_url"]))}">Sign in with another account</a>'
    elif document.get("code") in _TEMPORARY:
        way_on = f'<a href="">Try again</a> in a moment, or <a href="{escape(home)}">go to the start page</a>'
    else:
        words = "Go to the start page" if home.startswith("/") else f"Open {escape(home)}"
        way_on = f'<a href="{escape(home)}">{words}</a>'
    described = _CODE.sub(r"<code>\1</code>", f"<p>{detail}</p>") if detail else ""
    if document.get("code") == Problem.PROVIDER_REFUSED_CLIENT.code:
        described += "<p>The operators of this site have to correct that; another try does not help.</p>"
    return page_of(title, f"{described}<p>{way_on}</p><p><small>{status} {code}</small></p>")


def page_of(title: str, content: str) -> bytes:
    """A page of ours, of a title and content that are HTML already; `PAGE_HEADERS` go with it."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main><h1>{title}</h1>{content}"
        "</main></body></html>"
    ).encode()
