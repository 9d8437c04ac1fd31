"""The closed set of problems that this proxy reports to a client.

Rule 1: every error answer that the proxy itself makes names one of these codes; nothing else does.
Rule 2: a code, once published, keeps its meaning: pages are programmed against it.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class ProblemType:
    """The fixed part of a problem: its code, HTTP status and title."""

    code: str
    status: int
    title: str


class Problem(Enum):
    """All problems, as RFC 9457 problem types with a stable `code`."""

    SESSION_MISSING = ProblemType("session_missing", 401, "Nobody is signed in")
    SESSION_EXPIRED = ProblemType("session_expired", 401, "The session has expired")
    SESSION_ENDED = ProblemType("session_ended", 401, "The session was ended")
    STEP_UP_REQUIRED = ProblemType("step_up_required", 401, "A stronger or fresher sign-in is needed")
    INVALID_TOKEN = ProblemType("invalid_token", 401, "The bearer token is not accepted")
    BINDING_REQUIRED = ProblemType(
        "binding_required", 401, "The session is bound to a device, which has not proved itself"
    )
    CSRF_REJECTED = ProblemType("csrf_rejected", 403, "The request did not come from this site")
    NOT_ALLOWED = ProblemType("not_allowed", 403, "This is not allowed for this account")
    STORE_UNAVAILABLE = ProblemType("store_unavailable", 503, "The session store is out of reach")
    PROVIDER_UNAVAILABLE = ProblemType("provider_unavailable", 503, "The provider is out of reach")
    PROVIDER_REFUSED_CLIENT = ProblemType(
        "provider_refused_client", 503, "The provider does not accept this client"
    )
    UPSTREAM_UNREACHABLE = ProblemType("upstream_unreachable", 502, "The backend cannot be reached")
    UPSTREAM_TIMEOUT = ProblemType("upstream_timeout", 504, "The backend did not answer in time")
    UPSTREAM_INVALID = ProblemType("upstream_invalid", 502, "The backend's answer was no valid HTTP")
    NO_ROUTE = ProblemType("no_route", 404, "Nothing is configured at this address")
    NO_SUCH_SESSION = ProblemType("no_such_session", 404, "You have no such session")
    METHOD_NOT_ALLOWED = ProblemType("method_not_allowed", 405, "This method is not allowed here")
    BODY_TOO_LARGE = ProblemType("body_too_large", 413, "The request's body is too large")
    BAD_REQUEST = ProblemType("bad_request", 400, "The request is malformed")
    BEARER_AND_COOKIE = ProblemType(
        "bearer_and_cookie", 400, "A bearer token and a session's cookie came together"
    )
    BAD_RETURN_TO = ProblemType("bad_return_to", 400, "return_to is not a path on this site")
    WRONG_HOST = ProblemType("wrong_host", 421, "This host is not served here")
    REQUEST_TIMEOUT = ProblemType("request_timeout", 408, "The request did not arrive in time")
    HEADERS_TOO_LARGE = ProblemType("headers_too_large", 431, "The request's headers are too large")
    EXPECTATION_FAILED = ProblemType("expectation_failed", 417, "Only 100-continue can be expected")
    PREFETCH_REFUSED = ProblemType("prefetch_refused", 503, "This address is not fetched ahead")
    RATE_LIMITED = ProblemType("rate_limited", 429, "Too many requests")
    INTERNAL_ERROR = ProblemType("internal_error", 500, "Something went wrong here")

    @property
    def code(self) -> str:
        """The stable name that a client may test."""
        return self.value.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value.status


def problem_named(code: str) -> Problem:
    """The problem of a code; KeyError if there is none."""
    return _BY_CODE[code]


_BY_CODE = {problem.code: problem for problem in Problem}


class StoreUnavailableError(Exception):
    """Redis did not answer, or could not do what was asked: 503, and nobody is signed out."""


class ProviderUnavailableError(Exception):
    """The OpenID Provider did not answer usably: 503, and nobody is signed out."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
