"""What an exchange works with: the client's side of a call, and what all calls of a process share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from bff.observe.metrics import Metrics
from bff.policy.admission import RequestHead
from bff.policy.headers import HeaderRules, Hop
from bff.proxy.credentials import Credentials
from bff.proxy.pool import UpstreamPool
from bff.proxy.sinks import Header
from bff.tasks import Tasks


class ClientSide(Protocol):
    """What a front does for an exchange. No method raises or awaits."""

    def send_head(self, status: int, headers: list[Header]) -> None:
        """Begins the answer."""

    def send_data(self, chunk: bytes) -> None:
        """Sends a piece of it."""

    def send_end(self) -> None:
        """Ends it cleanly."""

    def abort(self) -> None:
        """Breaks it off so that the client sees that it is incomplete."""

    def pause_request(self) -> None:
        """Stops handing over the request's body."""

    def resume_request(self) -> None:
        """Goes on handing it over."""


@dataclass(frozen=True, slots=True)
class Destination:
    """What a route's calls need, worked out once."""

    pool: UpstreamPool
    rules: HeaderRules


@dataclass(frozen=True, slots=True)
class ExchangeParts:
    """What every exchange of a process shares."""

    destinations: Mapping[bytes, Destination]  # by the route's path
    hop: Callable[[RequestHead], Hop]
    credentials: Credentials
    tasks: Tasks
    metrics: Metrics
    clock: Callable[[], float]  # seconds, monotonic
    access_log: bool = True
