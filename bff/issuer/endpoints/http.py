"""HTTP at the issuer's edges: strict parameters, and the headers that every answer carries."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, assert_never
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bff.policy.navigation import not_navigated

MAX_FORM = 64 * 1024
NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_COMMON: Final = {
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with it Chromium sends `Origin: null` with the sign-in form.
    "Referrer-Policy": "same-origin",
}


class BadRequestError(Exception):
    """The request cannot be read; the message is fit for a client and holds nothing of the request."""

    def __init__(self, message: str, *, error: str = "invalid_request", status: int = 400) -> None:
        super().__init__(message)
        self.error = error
        self.status = status


def parse_parameters(text: str) -> dict[str, str]:
    """Reads a query or form; a parameter that comes twice is refused (RFC 6749 3.1, 3.2).

    `resource` and `audience` may come several times (RFC 8707 2, RFC 8693 2.1): they are kept as one text,
    apart by spaces, which neither can hold.
    """
    if len(text) > MAX_FORM:
        raise BadRequestError("There are too many parameters.", status=414)
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError as error:
        raise BadRequestError("The parameters cannot be read.") from error
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters and name not in ("resource", "audience"):
            raise BadRequestError("A parameter comes twice.")
        parameters[name] = f"{parameters[name]} {value}" if name in parameters else value
    return parameters


async def read_form(request: Request) -> dict[str, str]:
    """Reads a form of at most 64 KiB."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise BadRequestError("The body must be application/x-www-form-urlencoded.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise BadRequestError("The body is too large.", status=413)
    try:
        return parse_parameters(body.decode())
    except UnicodeDecodeError as error:
        raise BadRequestError("The body is not UTF-8.") from error


def check_is_navigation(request: Request) -> None:
    """Refuses a GET that acts and is no navigation: HEAD, a prefetch, an image."""
    if request.method == "POST":
        return
    match not_navigated(request.method, request.scope["headers"]):
        case None:
            return
        case "head":
            raise BadRequestError("Only GET and POST are served here.", status=405)
        case "prefetch":
            raise BadRequestError("This address is not fetched ahead.", status=503)
        case "fetch_mode":
            raise BadRequestError("This address is for navigations alone.", status=403)
        case other:
            assert_never(other)


def check_client_authentication(request: Request, form: Mapping[str, str]) -> None:
    """Refuses two ways of authentication at once (RFC 6749 2.3), and a header that authlib cannot read."""
    header = request.headers.get("authorization")
    ways = (header is not None, "client_secret" in form, "client_assertion" in form)
    if sum(ways) > 1:
        raise BadRequestError("The client authenticates in two ways at once.")
    if header is None:
        return
    scheme, _, encoded = header.partition(" ")
    try:
        readable = scheme.lower() == "basic" and ":" in b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        readable = False
    if not readable:
        raise BadRequestError("The Authorization header cannot be read.", error="invalid_client", status=401)


def with_parameters(uri: str, parameters: Mapping[str, str]) -> str:
    """Adds parameters to a redirect URI, keeping the query that it has (RFC 6749 3.1.2)."""
    parts = urlsplit(uri)
    query = "&".join(piece for piece in (parts.query, urlencode(parameters)) if piece)
    return urlunsplit(parts._replace(query=query))


def origin_of(uri: str) -> str:
    """Returns scheme, host and port of a URI."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def json_answer(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer that no cache keeps."""
    return JSONResponse(body, status, headers={**_COMMON, **NO_STORE, **(headers or {})})


def public_json(body: Mapping[str, Any], seconds: int) -> Response:
    """A public JSON answer that caches may keep for a while (discovery, keys)."""
    headers = {**_COMMON, "Cache-Control": f"public, max-age={seconds}", "Access-Control-Allow-Origin": "*"}
    return JSONResponse(body, headers=headers)


def redirect(location: str) -> Response:
    """303: the browser goes on with GET, after any method."""
    return Response(status_code=303, headers={"Location": location, **_COMMON, **NO_STORE})


def error_answer(error: BadRequestError) -> Response:
    """An OAuth error as JSON (RFC 6749 5.2)."""
    headers = {"WWW-Authenticate": 'Basic realm="issuer"'} if error.status == 401 else None  # noqa: PLR2004 - the status that asks for credentials
    return json_answer({"error": error.error, "error_description": str(error)}, error.status, headers)


def page_headers(style_hash: str, form_targets: tuple[str, ...] = ()) -> dict[str, str]:
    """The headers of a page of ours.

    `form-action` names the client's origin too: Chromium applies it to the redirect that answers the form.
    """
    targets = " ".join(("'self'", *form_targets))
    policy = (
        f"default-src 'none'; style-src '{style_hash}'; img-src data:; base-uri 'none'; "
        f"form-action {targets}; frame-ancestors 'none'"
    )
    return {**_COMMON, **NO_STORE, "Content-Security-Policy": policy, "X-Frame-Options": "DENY"}
