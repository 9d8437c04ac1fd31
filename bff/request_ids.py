"""The request id and the trace context of a request, beside its client's address."""

import os
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import chain

from bff.client_address_cache import ClientAddressCache
from bff.policy.admission import RequestHead
from bff.policy.header_rules import RequestIds
from bff.policy.trace_context import REQUEST_ID_ENTROPY, TRACE_ENTROPY, request_id, traceparent

ID_DIGITS = 2 * REQUEST_ID_ENTROPY
"""The number of digits of a request id, the first of those that `RequestIdMaker.draw` gives."""

_EACH = REQUEST_ID_ENTROPY + TRACE_ENTROPY
_DRAWN = 64  # requests for which bytes are drawn at a time


class RequestIdMaker(ClientAddressCache):
    """The maker of request ids and trace contexts; it finds the clients' addresses as well.

    `draw` gives the random digits of one request.
    """

    def __init__(self, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        super().__init__(trusted_proxies)
        self.draw = chain.from_iterable(_entropy()).__next__  # a list's next one takes no call

    def __call__(self, request: RequestHead) -> RequestIds:
        """Returns the ids of a request: the client's where they are well-formed, else new ones."""
        return self.made(request, self.draw())

    def made(self, request: RequestHead, digits: bytes) -> RequestIds:
        """Returns the ids of a request, new ones from digits that were drawn before."""
        fields = request.fields
        return RequestIds(
            client=self.client(request.peer, fields.values(b"x-forwarded-for")),
            request_id=request_id(fields.only(b"x-request-id"), digits[:ID_DIGITS]),
            traceparent=traceparent(fields.only(b"traceparent"), digits[ID_DIGITS:]),
        )


def _entropy() -> Iterator[list[bytes]]:
    """Gives lists of the digits of one request each: random bytes, fetched in larger pieces."""
    while True:
        pool = os.urandom(_EACH * _DRAWN).hex().encode("ascii")
        yield [pool[at : at + 2 * _EACH] for at in range(0, len(pool), 2 * _EACH)]
