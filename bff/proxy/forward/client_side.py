"""The client's side of a forwarded call: the interface that each front has for the forwarder."""

from typing import Protocol

from bff.policy.fields import Header


class ClientSide(Protocol):
    """The client's side of a forwarded call. No method raises or awaits."""

    def send_head(self, status: int, headers: list[Header]) -> None:
        """Begins the answer."""

    def send_data(self, chunk: bytes) -> None:
        """Sends a piece of the content."""

    def send_end(self) -> None:
        """Ends the answer cleanly."""

    def abort(self) -> None:
        """Breaks the answer off so that the client sees that it is incomplete."""

    def pause_request(self) -> None:
        """Stops handing over the request's body."""

    def resume_request(self) -> None:
        """Goes on handing the request's body over."""
