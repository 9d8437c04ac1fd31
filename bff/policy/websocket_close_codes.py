"""The close codes of WebSockets: one side's close as the other side is told (RFC 6455 7.4). Pure."""

from typing import Final

from websockets.exceptions import ConnectionClosed
from websockets.frames import EXTERNAL_CLOSE_CODES, Close, CloseCode

SESSION_OVER: Final = 4401
"""The close code of a socket whose session, or whose client's own token, has ended."""

_OF_APPLICATIONS = range(3000, 5000)


def passed_on(code: int, reason: str, *, lost: int) -> Close:
    """Returns one side's close as the other is told; `lost` is the code for an end without a close.

    A code passes unchanged where it may be sent at all; a close without a code becomes 1000.
    """
    if code == CloseCode.NO_STATUS_RCVD:
        return Close(CloseCode.NORMAL_CLOSURE, "")
    if code in EXTERNAL_CLOSE_CODES or code in _OF_APPLICATIONS:
        return Close(code, reason)
    return Close(lost, "")


def after_backend(closed: ConnectionClosed) -> Close:
    """Returns the close that the client is told when the backend's side has ended."""
    if closed.rcvd is not None and closed.rcvd_then_sent is not False:
        return passed_on(closed.rcvd.code, closed.rcvd.reason, lost=CloseCode.BAD_GATEWAY)
    if closed.sent is not None and closed.sent.code == CloseCode.MESSAGE_TOO_BIG:
        return Close(CloseCode.MESSAGE_TOO_BIG, "")
    return Close(CloseCode.BAD_GATEWAY, "")
