"""The refusal of a request by the connection itself: malformed, too large, late, for another host. Pure."""

from collections.abc import Callable

from bff.errors import Problem


class Refusal(Exception):  # noqa: N818 - the verdict on a request, which is raised and answered
    """The refusal of a request: the answer is `problem`, and the connection ends.

    Attributes:
        detail: may be shown to the client.
        host: the Host that came, where that is the reason; for the log alone.
        home: where the page for a person leads: an address that is served here.
        head: the bytes of the head, as far as they came, where they are the reason.
    """

    def __init__(self, problem: Problem, detail: str = "", host: str | None = None, home: str = "/") -> None:
        super().__init__(problem.code, detail)
        self.problem = problem
        self.detail = detail
        self.host = host
        self.home = home
        self.head = b""


Refused = Callable[[Refusal, str], None]
"""Told of each refusal and the peer's address, for the log and the metric."""


def bad_request(detail: str) -> Refusal:
    """Returns the refusal of a malformed request."""
    return Refusal(Problem.BAD_REQUEST, detail)
