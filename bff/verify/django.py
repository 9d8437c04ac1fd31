"""Django: a decorator for views; the claims are `request.claims`.

A view that is a coroutine function (under ASGI) is given a `TokenVerifier`, another a `BlockingVerifier`.
"""

import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from .blocking import BlockingVerifier
from .claims import Claims, TokenRefusedError
from .request_parts import RequestParts
from .verifier import TokenVerifier


def bearer_required(
    verifier: BlockingVerifier | TokenVerifier, scope: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator: the view is called for good tokens only; others are answered as RFC 6750 says.

    `scope`: the scope that the token needs.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(verifier, TokenVerifier):
            if not inspect.iscoroutinefunction(view):
                raise TypeError("a view that is no coroutine function needs a BlockingVerifier")
            return _checked_later(verifier, scope, view)
        if inspect.iscoroutinefunction(view):
            raise TypeError("a view that is a coroutine function needs a TokenVerifier")
        return _checked(verifier, scope, view)

    return decorate


def _checked(
    verifier: BlockingVerifier, scope: Collection[str], view: Callable[..., HttpResponseBase]
) -> Callable[..., HttpResponseBase]:
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            claims = verifier.verify_request(_parts(request), scope)
        except TokenRefusedError as error:
            return _refusal(error)
        setattr(request, "claims", claims)  # noqa: B010 - an attribute that HttpRequest does not declare
        return _told(view(request, *args, **kwargs), claims)

    return checked


def _checked_later(
    verifier: TokenVerifier, scope: Collection[str], view: Callable[..., Awaitable[HttpResponseBase]]
) -> Callable[..., Awaitable[HttpResponseBase]]:
    @wraps(view)
    async def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            claims = await verifier.verify_request(_parts(request), scope)
        except TokenRefusedError as error:
            return _refusal(error)
        setattr(request, "claims", claims)  # noqa: B010 - an attribute that HttpRequest does not declare
        return _told(await view(request, *args, **kwargs), claims)

    return checked


def _parts(request: HttpRequest) -> RequestParts:
    # The gateway joins repeated fields by a comma, which neither a token nor a proof has: they are refused.
    if (scope := getattr(request, "scope", None)) is not None:
        parts = RequestParts.of_scope(scope)
    else:
        parts = RequestParts.of_environ(request.META)
    path = parts.url.partition("://")[2].partition("/")[2]
    # Scheme and host as Django's settings have them told: SECURE_PROXY_SSL_HEADER, USE_X_FORWARDED_HOST.
    return replace(parts, url=f"{request.scheme}://{request.get_host()}/{path}")


def _told(response: HttpResponseBase, claims: Claims) -> HttpResponseBase:
    """Returns the view's answer, with a newer nonce if there is one."""
    if claims.dpop_nonce is not None:
        response["DPoP-Nonce"] = claims.dpop_nonce
    return response


def _refusal(error: TokenRefusedError) -> JsonResponse:
    return JsonResponse(error.body, status=error.status, headers=error.headers)
