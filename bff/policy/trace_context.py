"""The request id and the trace context for a backend.

A client's own value is passed on only if it is well-formed: it ends up in headers and log lines. What is
made instead comes from random bytes that the caller draws.
"""

import re
import string
from collections.abc import Sequence

from bff.allowed_bytes import allowing
from bff.policy.fields import Header

REQUEST_ID_ENTROPY = 16
"""The number of random bytes that `request_id` wants."""

TRACE_ENTROPY = 24
"""The number of random bytes that `traceparent` wants: 16 for the trace, 8 for the parent."""

_REQUEST_ID = allowing(f"{string.ascii_letters}{string.digits}._-".encode())
_SHORTEST, _LONGEST = 8, 64
_FIELDS = frozenset({b"traceparent", b"tracestate"})
_TRACEPARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-[\x21-\x7e]{0,200})?"
)


def valid_request_id(value: bytes) -> bool:
    """Returns True for a client's request id that may be kept: 8 to 64 letters, digits, dots, `-`, `_`."""
    return _SHORTEST <= len(value) <= _LONGEST and value.translate(_REQUEST_ID) == value


def valid_traceparent(value: bytes) -> bool:
    """Returns True if a `traceparent` header is well-formed (W3C Trace Context, section 3.2).

    Version `ff` and all-zero ids are invalid. Version `00` has exactly four fields; a later version may
    have more, which are passed on as they are.
    """
    found = _TRACEPARENT.fullmatch(value)
    if found is None or found["version"] == b"ff":
        return False
    if found["version"] == b"00" and found["more"] is not None:
        return False
    return bool(found["trace"].strip(b"0") and found["parent"].strip(b"0"))


def in_trace(headers: Sequence[Header], parent: bytes, state: bytes | None) -> list[Header]:
    """Returns a request's fields with this trace context in place of its own."""
    own = [(b"traceparent", parent)] if state is None else [(b"traceparent", parent), (b"tracestate", state)]
    return [*(field for field in headers if field[0] not in _FIELDS), *own]


def request_id(incoming: bytes | None, digits: bytes) -> bytes:
    """The id of this request: the client's if well-formed, else `digits`.

    Args:
        incoming: the value of the only `X-Request-Id` header; `None` if there is none or several.
        digits: `REQUEST_ID_ENTROPY` random bytes in hex.
    """
    return incoming if incoming is not None and valid_request_id(incoming) else digits


def traceparent(incoming: bytes | None, digits: bytes) -> bytes:
    """The trace context to pass on: the client's if well-formed, else a new one made of `digits`.

    A new one has the flag "sampled": we record no traces ourselves, and without the flag a backend with
    OpenTelemetry's default sampler would stop recording its own. A `tracestate` header belongs to its
    `traceparent` and must be dropped when a new one is made (section 3.3).

    Args:
        incoming: the value of the only `traceparent` header; `None` if there is none or several.
        digits: `TRACE_ENTROPY` random bytes in hex.
    """
    if incoming is not None and valid_traceparent(incoming):
        return incoming
    return b"00-%b-%b-01" % (digits[:32], digits[32:48])
