"""Checks of a route's settings: methods that can be taken, headers and challenges that may pass. Pure."""

from collections.abc import Iterable, Iterator

from bff.settings.dropped_headers import FROM_BACKEND, TO_BACKEND, Stopped, plain_name, row_of
from bff.settings.model import RouteSettings
from bff.settings.problem import Finding

_METHODS = frozenset(
    {
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "TRACE", "CONNECT",
        "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY",
        "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "REBIND",
        "REPORT", "SEARCH", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE"
    }
)  # fmt: skip
"""The methods of HTTP and WebDAV that the request parser takes."""
_PROMPTING = ("basic", "digest", "ntlm", "negotiate")
_AUTHORIZATION = "authorization"


def check_passing(route: RouteSettings, at: str) -> Iterator[Finding]:
    """Findings about one route; `at` is its place, like `route[0]`."""
    yield from _methods(route, at)
    yield from _names(f"{at}.pass_request_headers", TO_BACKEND, route.pass_request_headers)
    yield from _names(f"{at}.pass_response_headers", FROM_BACKEND, route.pass_response_headers)
    lets_through = _AUTHORIZATION in map(plain_name, route.pass_request_headers)
    if lets_through and (route.auth != "none" or route.token_kind() == "client"):
        yield Finding(
            f"{at}.pass_request_headers",
            'lets Authorization through, which is the proxy\'s own unless auth = "none", and no token is set',
            "remove it: the backend gets a token of ours there",
            needs=(f"{at}.auth", f"{at}.token"),
        )
    if route.rate_per_session is not None and route.auth == "none":
        yield Finding(
            f"{at}.rate_per_session",
            'counts nothing: with auth = "none" no session is looked up',
            "set rate_per_address",
            needs=(f"{at}.auth",),
        )
    prompting = [scheme for scheme in route.challenges if scheme.lower() in _PROMPTING]
    if prompting and not lets_through:
        yield Finding(
            f"{at}.challenges",
            f"lets {', '.join(prompting)} through: browsers ask for a password, and it goes nowhere",
            "remove it: Authorization is the proxy's own",
        )


def _methods(route: RouteSettings, at: str) -> Iterator[Finding]:
    unknown = sorted(method for method in route.methods if not parser_takes(method))
    if unknown:
        yield Finding(
            f"{at}.methods",
            f"names {', '.join(unknown)}, which the HTTP parser does not know: it would answer 400",
            "remove it",
        )


def parser_takes(method: str) -> bool:
    """Returns True if the request parser takes the method; TRACE and CONNECT have a message of their own."""
    return method in _METHODS


def _names(key: str, table: Iterable[Stopped], names: Iterable[str]) -> Iterator[Finding]:
    for name in names:
        row = row_of(table, name)
        if row is None:
            yield Finding(key, f'names "{name}", which passes anyway', "remove it")
        elif row.fixed:
            yield Finding(key, f'names "{name}", which {row.reason}: no setting lets it pass', "remove it")
