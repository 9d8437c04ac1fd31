"""The request that goes to a backend for one call."""

from bff.credentials.credential import Anonymous, Signed
from bff.policy.admission import Admitted, RequestHead
from bff.policy.header_rules import RequestIds
from bff.proxy.forward.destination import Destination
from bff.upstream.interfaces import UpstreamRequest


def upstream_request(
    request: RequestHead,
    admitted: Admitted,
    ids: RequestIds,
    credential: Signed | Anonymous,
    destination: Destination,
    *,
    at_hand: bool,
) -> UpstreamRequest:
    """Returns the request for the backend.

    A body that cannot be sent a second time is announced first, so that a 401 comes before it is spent;
    `at_hand` says that all of it is here, to be sent as often as it takes.
    """
    route, length, query = admitted.route, request.body_length, request.query
    identity = destination.identity.of(credential, request.method, admitted.target)
    announced = length is None or length > route.settings.replay_buffer
    return UpstreamRequest(
        method=request.method,
        target=admitted.target + (b"?" + query if query else b""),
        host=route.host_header,
        headers=[*destination.rules.request(request.fields, ids), *identity],
        body_length=length,
        expect_continue=announced and route.settings.expect and not at_hand,
    )
