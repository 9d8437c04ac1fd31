"""What goes to a backend: one call's request, as its attempts send it."""

from typing import cast

from bff.policy.admission import Admitted, RequestHead
from bff.policy.headers import HeaderRules, Hop
from bff.proxy.forward.credentials import Anonymous, Signed
from bff.proxy.upstream.interfaces import Rendered, UpstreamRequest
from bff.proxy.upstream.request_writer import render


def outgoing(
    request: RequestHead,
    admitted: Admitted,
    hop: Hop,
    credential: Signed | Anonymous,
    rules: HeaderRules,
    *,
    at_hand: bool,
) -> UpstreamRequest:
    """Builds the request. What lasts of its head is rendered once for its fields and kept with them.

    A body that cannot be sent a second time is announced first, so that a 401 comes before it is spent;
    `at_hand` says that all of it is here, to be sent as often as it takes.

    Raises:
        UnsafeRequestError: a field that only the connection may write.
    """
    route, length = admitted.route, request.body_length
    bearer: bytes | None = None
    if isinstance(credential, Signed):
        bearer = credential.found.session.tokens.access_token.encode()
    lasting = cast("Rendered | None", request.fields.rendered.get(route.path))
    if lasting is None:
        lasting = request.fields.rendered[route.path] = render(rules.lasting(request.fields, hop.client))
    return UpstreamRequest(
        method=request.method,
        target=admitted.target + (b"?" + request.query if request.query else b""),
        host=route.host_header,
        headers=rules.fleeting(request.fields, hop, bearer),
        body_length=length,
        expect_continue=(
            not at_hand
            and route.settings.expect
            and (length is None or length > route.settings.replay_buffer)
        ),
        rendered=lasting,
    )
