"""What one request gets from this hop: the client's address, a request id, a trace context."""

import os
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from bff.policy.address import client_address
from bff.policy.admission import RequestHead
from bff.policy.headers import Hop
from bff.policy.trace import REQUEST_ID_ENTROPY, TRACE_ENTROPY, request_id, traceparent


class HopMaker:
    """Identifies requests. `trusted_proxies` are those whose `X-Forwarded-For` is believed."""

    def __init__(self, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._trusted = trusted_proxies

    def __call__(self, request: RequestHead) -> Hop:
        """Draws what is random, and takes over what the client sent where that is well-formed."""
        entropy = os.urandom(REQUEST_ID_ENTROPY + TRACE_ENTROPY)
        ids, traces = request.values(b"x-request-id"), request.values(b"traceparent")
        return Hop(
            client=client_address(request.peer, request.values(b"x-forwarded-for"), self._trusted),
            request_id=request_id(_only(ids), entropy[:REQUEST_ID_ENTROPY]).encode("ascii"),
            traceparent=traceparent(_only(traces), entropy[REQUEST_ID_ENTROPY:]),
        )


def _only(values: list[bytes]) -> bytes | None:
    return values[0] if len(values) == 1 else None
