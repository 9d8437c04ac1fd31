"""Reasons of failed connections, found behind the errors of clients."""

import errno
from socket import gaierror
from ssl import SSLError

import pytest

from bff.policy.connection_fault import connection_fault

REFUSED = "connection refused: nothing listens there"


def no_tls(reason: str) -> SSLError:
    error = SSLError(1, "[SSL] words")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 1)"), REFUSED),
        (gaierror(-2, "Name or service not known"), "the name does not resolve"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route to the host"),
        (no_tls("WRONG_VERSION_NUMBER"), "no TLS is spoken there (WRONG_VERSION_NUMBER)"),
        (no_tls("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS: TLSV1_ALERT_PROTOCOL_VERSION"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] …"), REFUSED),
        (OSError("All connection attempts failed"), None),
        (OSError(errno.EIO, "x"), None),
        (ValueError("x"), None),
        (None, None),
    ],
)
def test_the_reason(error: BaseException | None, words: str | None) -> None:
    """In words for an operator, without the address."""
    assert words == connection_fault(error)


def test_it_is_found_in_the_chain() -> None:
    """As a cause, as what went before, and as the first of several attempts."""
    refused, outer, around = (
        ConnectionRefusedError(errno.ECONNREFUSED, "x"),
        OSError("all failed"),
        Exception(),
    )
    outer.__cause__ = ExceptionGroup("attempts", [refused, gaierror(-2, "y")])
    around.__context__ = outer
    assert REFUSED == connection_fault(around)
    outer.__cause__ = ExceptionGroup("attempts", [OSError("x")])
    assert connection_fault(around) is None
