"""The refusal of a request by the connection itself."""

from bff.errors import Problem
from bff.policy.request_refusal import bad_request


def test_a_bad_request_tells_its_detail_and_nothing_of_the_request() -> None:
    """The head and the host that came are for the log and the answer's form: their places are empty."""
    refusal = bad_request("no host header")
    assert (Problem.BAD_REQUEST, "no host header", None, "/", b"") == (
        refusal.problem,
        refusal.detail,
        refusal.host,
        refusal.home,
        refusal.head,
    )
    assert "bad_request" in str(refusal)
