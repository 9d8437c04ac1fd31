"""Which request id and which trace context go on."""

import pytest

from bff.policy.trace_context import (
    REQUEST_ID_ENTROPY,
    TRACE_ENTROPY,
    in_trace,
    request_id,
    traceparent,
    valid_traceparent,
)

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00f067aa0ba902b7"
GOOD = b"00-" + TRACE + b"-" + PARENT + b"-01"
DIGITS = bytes(range(1, TRACE_ENTROPY + 1)).hex().encode()


@pytest.mark.parametrize("given", [b"12345678", b"A.b-c_9.", b"x" * 64])
def test_a_well_formed_request_id_is_taken_over(given: bytes) -> None:
    """A reverse proxy's id stays the same through all logs."""
    assert given == request_id(given, DIGITS)


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"",
        b"1234567",
        b"x" * 65,
        b"12345678\n",
        b"1234 5678",
        b"12345678\r\nX: y",
        b"\xff" * 8,
        b"a=b;c,d,",
    ],
)
def test_any_other_request_id_is_replaced(given: bytes | None) -> None:
    """What could break a header or a log line is never taken over."""
    digits = bytes(range(REQUEST_ID_ENTROPY)).hex().encode()
    assert b"000102030405060708090a0b0c0d0e0f" == request_id(given, digits)


@pytest.mark.parametrize(
    "given",
    [
        GOOD,
        b"00-" + TRACE + b"-" + PARENT + b"-00",
        b"01-" + TRACE + b"-" + PARENT + b"-01-more",
        b"01-" + TRACE + b"-" + PARENT + b"-01",
    ],
)
def test_a_well_formed_trace_is_passed_on(given: bytes) -> None:
    """A trace that began before us goes on behind us, those of later versions too."""
    assert given == traceparent(given, DIGITS)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"ff-" + TRACE + b"-" + PARENT + b"-01",
        b"00-" + b"0" * 32 + b"-" + PARENT + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        b"00-" + TRACE.upper() + b"-" + PARENT + b"-01",
        GOOD + b"-more",
        GOOD + b"\n",
        GOOD[:-1],
        GOOD + b"1",
        b"01-" + TRACE + b"-" + PARENT + b"-01more",
        b"01-" + TRACE + b"-" + PARENT + b"-01-mo\r\nre",
    ],
)
def test_a_malformed_trace_is_refused(given: bytes) -> None:
    """W3C Trace Context 3.2: all-zero ids, upper case, version ff, and wrong lengths are invalid."""
    assert valid_traceparent(given) is False
    assert traceparent(None, DIGITS) == traceparent(given, DIGITS)


def test_a_new_trace_is_well_formed() -> None:
    """What we make would pass our own check."""
    made = traceparent(None, DIGITS)
    assert b"00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01" == made
    assert valid_traceparent(made) is True


@pytest.mark.parametrize(("state", "added"), [(None, []), (b"a=1", [(b"tracestate", b"a=1")])])
def test_the_context_of_an_attempt(state: bytes | None, added: list[tuple[bytes, bytes]]) -> None:
    """It takes the place of the client's own, state and all."""
    fields = [(b"traceparent", b"theirs"), (b"accept", b"*/*"), (b"tracestate", b"theirs")]
    assert [(b"accept", b"*/*"), (b"traceparent", GOOD), *added] == in_trace(fields, GOOD, state)
