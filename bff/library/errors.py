"""The errors that an application's own endpoints raise where the proxy would answer with a problem."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket

from bff.errors import Problem
from bff.policy.navigation import navigates
from bff.problems import problem_response

_POLICY = 1008  # the close code "policy violation" (RFC 6455 7.4.1)


class BffError(HTTPException):
    """A request that is refused as a forwarded call would be: with the same status and the same document.

    Attributes:
        problem: one of the closed set.
        reason: details, such as the reason of a session's end; None without any.
        retry_after: seconds after which to try again, with 429 and 503; None if they are unknown.
        login_url: the address of the sign-in.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        login_url: str,
        reason: str | None = None,
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        self.problem = problem
        self.reason = reason
        self.retry_after = retry_after
        self.login_url = login_url
        self._more = detail
        _, headers, _ = self._rendered(page=False)
        told = {name.decode(): value.decode() for name, value in headers if name in _BY_ANY_HANDLER}
        super().__init__(problem.status, f"{problem.value.title} ({problem.code})", told)

    @property
    def code(self) -> str:
        """The stable code of the problem."""
        return self.problem.code

    def response(self, *, page: bool = False) -> Response:
        """The answer: a problem document (RFC 9457), or with `page` one for people."""
        status, headers, body = self._rendered(page=page)
        return Response(body, status, {name.decode(): value.decode() for name, value in headers})

    def _rendered(self, *, page: bool) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        more: dict[str, Any] = {"detail": self._more, "retry_after": self.retry_after, "reason": self.reason}
        return problem_response(self.problem, page=page, login_url=self.login_url, **more)


_BY_ANY_HANDLER = frozenset({b"retry-after", b"cache-control"})


async def answer_bff_error(connection: HTTPConnection, error: Exception) -> Response | None:
    """The exception handler for `BffError`: the proxy's own answer, for a WebSocket before it opens."""
    assert isinstance(error, BffError)
    if not isinstance(connection, WebSocket):
        return error.response(page=navigates(connection.scope["headers"]))
    if "websocket.http.response" in (connection.scope.get("extensions") or {}):
        await connection.send_denial_response(error.response())
    else:
        await connection.close(_POLICY, error.code)
    return None
