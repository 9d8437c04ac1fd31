"""Flask: a decorator for views; the claims are `flask.g.claims`."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import ParamSpec

from flask import Response, after_this_request, g, make_response, request
from flask.typing import ResponseReturnValue

from .blocking import BlockingVerifier
from .claims import TokenRefusedError
from .request_parts import RequestParts

P = ParamSpec("P")


def bearer_required(
    verifier: BlockingVerifier, scope: Collection[str] = ()
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Returns a decorator: the view is called for good tokens only; others are answered as RFC 6750 says.

    `scope`: the scope that the token needs.
    """

    def decorate(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            try:
                # WSGI joins repeated fields by a comma, which neither token nor proof has: they are refused.
                g.claims = verifier.verify_request(RequestParts.of_environ(request.environ), scope)
            except TokenRefusedError as error:
                return make_response(error.body, error.status, error.headers)
            if g.claims.dpop_nonce is not None:
                after_this_request(_told)
            return view(*args, **kwargs)

        return checked

    return decorate


def _told(response: Response) -> Response:
    """Returns the answer with the newer nonce."""
    response.headers["DPoP-Nonce"] = g.claims.dpop_nonce
    return response
