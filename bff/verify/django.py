"""Django: a decorator for views; the claims are `request.claims`.

A view that is a coroutine function (under ASGI) is given a `TokenVerifier`, another a `BlockingVerifier`.
"""

import inspect
from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from .blocking import BlockingVerifier
from .claims import TokenRefusedError, bearer_token
from .verifier import TokenVerifier


def bearer_required(
    verifier: BlockingVerifier | TokenVerifier, scope: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator: the view is called for good tokens only; others are answered as RFC 6750 says.

    `scope`: what the token has to be good for.
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
            claims = verifier.verify(_token(request), scope)
        except TokenRefusedError as error:
            return _refusal(error)
        setattr(request, "claims", claims)  # noqa: B010 - an attribute that HttpRequest does not declare
        return view(request, *args, **kwargs)

    return checked


def _checked_later(
    verifier: TokenVerifier, scope: Collection[str], view: Callable[..., Awaitable[HttpResponseBase]]
) -> Callable[..., Awaitable[HttpResponseBase]]:
    @wraps(view)
    async def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            claims = await verifier.verify(_token(request), scope)
        except TokenRefusedError as error:
            return _refusal(error)
        setattr(request, "claims", claims)  # noqa: B010 - an attribute that HttpRequest does not declare
        return await view(request, *args, **kwargs)

    return checked


def _token(request: HttpRequest) -> str:
    # The gateway joins repeated fields by a comma, which no token has: the verifier refuses it.
    value = request.META.get("HTTP_AUTHORIZATION")
    return bearer_token([] if value is None else [value])


def _refusal(error: TokenRefusedError) -> JsonResponse:
    return JsonResponse(error.body, status=error.status, headers=error.headers)
