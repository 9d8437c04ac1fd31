"""The request that goes to a backend for one call."""

from collections.abc import Mapping
from typing import Any

from bff.credentials.credential import Anonymous, Signed, TokenOnly, proof_key_of
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
    token, claims = _of(credential)
    if token is not None and rules.bearer:
        key = None if proofs is None else proof_key_of(credential)
        if proofs is not None and key is not None:
            told = proofs.fields(key.encode(), token, request.method, admitted.target)
        else:
            bearer = token
    if claims is not None and rules.claims:
        told += claim_headers(rules.claims, claims)
    announced = length is None or length > route.settings.replay_buffer
    return UpstreamRequest(
        method=request.method,
        target=admitted.target + (b"?" + query if query else b""),
        host=route.host_header,
        headers=[*rules.request(request.fields, ids, bearer), *told],
        body_length=length,
        expect_continue=announced and route.settings.expect and not at_hand,
    )


def _of(credential: Signed | Anonymous) -> tuple[bytes | None, Mapping[str, Any] | None]:
    """The token of a credential, and the claims that go with it."""
    if isinstance(credential, Signed):
        session = credential.found.session
        return session.tokens.access_token.encode(), session.all_claims
    if isinstance(credential, TokenOnly):
        return credential.token.encode(), credential.claims
    return None, None
