"""The parts of a call's time that are a backend's or the client's, for the metrics."""


class BackendTimes:
    """The parts of a call's time that are not the proxy's, in seconds.

    Attributes:
        upstream: from the sending of a request to the head of its answer, all attempts together; None before
            the first.
        not_ours: from the sending to the end of each answer, and the time that a client took for its body.
    """

    __slots__ = ("_headless", "_sent_at", "not_ours", "upstream")

    def __init__(self) -> None:
        self.upstream: float | None = None
        self.not_ours = 0.0
        self._sent_at: float | None = None
        self._headless = False

    def sent(self, now: float) -> None:
        """Notes that a request goes to a backend."""
        self._sent_at, self._headless = now, True

    def head(self, now: float) -> None:
        """Notes that the head of the answer has come, or that none will."""
        if self._headless and self._sent_at is not None:
            self._headless = False
            self.upstream = (self.upstream or 0.0) + now - self._sent_at

    def over(self, now: float) -> None:
        """Notes that the backend has nothing more to do with the call, if it ever had."""
        self.head(now)
        if self._sent_at is not None:
            self.not_ours += now - self._sent_at
            self._sent_at = None
