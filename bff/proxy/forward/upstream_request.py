"""The request that goes to a backend for one call."""

from bff.credentials.credential import Anonymous, Signed, TokenOnly
from bff.policy.admission import Admitted, RequestHead
from bff.policy.fields import Header
from bff.policy.headers import RequestIds
from bff.policy.route_access import claim_headers
from bff.proxy.forward.context import Destination
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
    rules, proofs = destination.rules, destination.proofs
    route, length, query = admitted.route, request.body_length, request.query
    bearer: bytes | None = None
    told: list[Header] = []
    if isinstance(credential, Signed):
        session = credential.found.session
        token, key = session.tokens.access_token.encode(), session.tokens.proof_key
        if rules.bearer and proofs is not None and key is not None:
            told = proofs.fields(key.encode(), token, request.method, admitted.target)
        elif rules.bearer:
            bearer = token
        if rules.claims:
            told += claim_headers(rules.claims, session.all_claims)
    elif isinstance(credential, TokenOnly):
        if rules.bearer:
            bearer = credential.token.encode()
        if rules.claims:
            told = claim_headers(rules.claims, credential.claims)
    announced = length is None or length > route.settings.replay_buffer
    return UpstreamRequest(
        method=request.method,
        target=admitted.target + (b"?" + query if query else b""),
        host=route.host_header,
        headers=[*rules.request(request.fields, ids, bearer), *told],
        body_length=length,
        expect_continue=announced and route.settings.expect and not at_hand,
    )
