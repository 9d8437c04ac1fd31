"""The client's address, the request id and the trace context of a request."""

import os
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from bff.policy.address import client_address
from bff.policy.admission import RequestHead
from bff.policy.headers import Hop
from bff.policy.trace import REQUEST_ID_ENTROPY, TRACE_ENTROPY, request_id, traceparent

ID_DIGITS = 2 * REQUEST_ID_ENTROPY
"""The number of digits of a request id, the first of those that `RequestIdMaker.draw` gives."""

_EACH = REQUEST_ID_ENTROPY + TRACE_ENTROPY
_MOST_CLIENTS, _LONGEST = 10_000, 256  # addresses that are kept; bytes of a field


class RequestIdMaker:
    """Identifies requests. `trusted_proxies` are those whose `X-Forwarded-For` is believed.

    `draw` gives the random digits of one request.
    """

    def __init__(self, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._trusted = trusted_proxies
        self.draw = _Entropy().draw
        self._clients: dict[tuple[str, bytes], str] = {}  # by the peer and what it says

    def __call__(self, request: RequestHead) -> Hop:
        """Draws what is random, and takes over what the client sent where that is well-formed."""
        return self.made(request, self.draw())

    def made(self, request: RequestHead, digits: bytes) -> Hop:
        """The same of digits that were drawn before."""
        ids, traces = request.fields.values(b"x-request-id"), request.fields.values(b"traceparent")
        return Hop(
            client=self.client(request.peer, request.fields.values(b"x-forwarded-for")),
            request_id=request_id(ids[0] if len(ids) == 1 else None, digits[:ID_DIGITS]),
            traceparent=traceparent(traces[0] if len(traces) == 1 else None, digits[ID_DIGITS:]),
        )

    def client(self, peer: str, forwarded_for: Sequence[bytes]) -> str:
        """The client's address; `forwarded_for` are the values of `X-Forwarded-For`."""
        said = b",".join(forwarded_for) if self._trusted else b""
        known = self._clients.get((peer, said))
        if known is None:
            known = client_address(peer, (said,) if said else (), self._trusted)
            if len(said) <= _LONGEST:
                if len(self._clients) >= _MOST_CLIENTS:
                    self._clients.clear()
                self._clients[peer, said] = known
        return known


class _Entropy:
    """Random bytes for ids, in hex, fetched from the system in larger pieces."""

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def draw(self) -> bytes:
        """The digits for one request, never the same twice."""
        if self._at >= len(self._pool):
            self._pool, self._at = os.urandom(_EACH * 64).hex().encode("ascii"), 0
        start, self._at = self._at, self._at + 2 * _EACH
        return self._pool[start : self._at]
