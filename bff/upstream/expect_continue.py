"""The use of `Expect: 100-continue` towards one backend (RFC 9110, 10.1.1).

Rule 1: a backend that answers 417 to the expectation, which is the proxy's own and not the client's, has the
request repeated without it, and is asked no more for a while.
"""

_A_WHILE = 600.0
"""For how long a backend that refused an expectation is sent none, in seconds."""


class Expectation:
    """The memory of one backend's refusal."""

    __slots__ = ("_refused_until",)

    def __init__(self) -> None:
        self._refused_until = float("-inf")

    def refused(self, now: float) -> None:
        """Notes that the backend answered 417."""
        self._refused_until = now + _A_WHILE

    def may_be_sent(self, now: float) -> bool:
        """Returns true if the backend can be asked again."""
        return now >= self._refused_until
