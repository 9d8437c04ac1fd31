"""One side's close of a WebSocket, as the other side is told."""

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from bff.policy.websocket_close_codes import after_backend, passed_on


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (1000, (1000, "bye")),
        (1008, (1008, "bye")),
        (3000, (3000, "bye")),
        (4999, (4999, "bye")),
        (1005, (1000, "")),  # a close without a code
        (1006, (1014, "")),  # none came
        (1015, (1014, "")),
        (2999, (1014, "")),  # reserved
        (5000, (1014, "")),
    ],
)
def test_a_code_passes_where_it_may_be_sent(code: int, told: tuple[int, str]) -> None:
    """A code that may not stand in a frame is replaced, and its reason dropped (RFC 6455 7.4)."""
    close = passed_on(code, "bye", lost=1014)
    assert told == (close.code, close.reason)


@pytest.mark.parametrize(
    ("received", "sent", "received_first", "told"),
    [
        (Close(4000, "moved"), Close(4000, ""), True, (4000, "moved")),
        (Close(4000, "moved"), None, None, (4000, "moved")),  # its connection was lost behind its close
        (Close(4000, ""), Close(1009, ""), False, (1009, "")),  # it answers ours: its message was too big
        (None, Close(1009, ""), None, (1009, "")),
        (None, Close(1011, ""), None, (1014, "")),
        (None, None, None, (1014, "")),
    ],
)
def test_the_end_of_a_backend(
    received: Close | None, sent: Close | None, received_first: bool | None, told: tuple[int, str]
) -> None:
    """The client is told the backend's close; its own message's size; else that the gateway failed."""
    close = after_backend(ConnectionClosedError(received, sent, received_first))
    assert told == (close.code, close.reason)
