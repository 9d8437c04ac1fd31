"""Checks of a route's settings about the token that its backend gets. Pure."""

from collections.abc import Iterator

from bff.settings.model import RouteSettings, Settings
from bff.settings.problem import Finding
from bff.settings.redis_urls import redis_complaint
from bff.settings.route_token_settings import RESERVED
from bff.settings.url_check import issuer_complaint, resource_complaint

_READING = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})
_FOR_SOMEBODY = ("exchange", "client", "minted")  # kinds that can be meant for an audience


def check_token(route: RouteSettings, at: str) -> Iterator[Finding]:
    """Findings about one route; `at` is its place, like `route[0]`."""
    kind, one_of_them = route.token_kind(), "remove one of the two"
    if route.audience is not None and kind not in _FOR_SOMEBODY:
        yield Finding(
            f"{at}.audience",
            f'is set, but token = "{kind}" exchanges none',
            one_of_them,
            needs=(f"{at}.token",),
        )
    if kind in {"exchange", "minted"} and route.audience is None:
        yield Finding(
            f"{at}.token",
            f'is "{kind}", and no audience says for whom',
            'write audience = "…" too',
            needs=(f"{at}.audience",),
        )
    for key in ("token", "audience"):
        if getattr(route, key) is not None and route.auth == "none" and kind != "client":
            yield Finding(
                f"{at}.{key}",
                'is set, but auth = "none" sends no token at all',
                one_of_them,
                needs=(f"{at}.auth", f"{at}.token"),
            )
    yield from _client(route, at)
    yield from _bearer(route, at)
    if route.claims and kind != "minted":
        yield Finding(
            f"{at}.claims",
            'is set, and only a token = "minted" tells claims',
            one_of_them,
            needs=(f"{at}.token",),
        )
    if taken := sorted(RESERVED & set(route.claims)):
        yield Finding(
            f"{at}.claims",
            f"names what is the token's own: {', '.join(taken)}",
            "remove it there",
        )


def _bearer(route: RouteSettings, at: str) -> Iterator[Finding]:
    """The settings of the bearer tokens that clients bring."""
    if not route.takes_bearer():
        for key in ("bearer_audience", "bearer_issuer", "bearer_revocations", "bearer_introspection"):
            if getattr(route, key):
                yield Finding(
                    f"{at}.{key}",
                    'is set, and only auth = "session or bearer" takes tokens of clients',
                    "remove one of the two",
                    needs=(f"{at}.auth",),
                )
        return
    if route.bearer_audience is None:
        yield Finding(
            f"{at}.auth",
            'is "session or bearer", and no bearer_audience says for whom the tokens have to be',
            "write the audience of this API's tokens too: without it any token of the issuer's would do",
            needs=(f"{at}.bearer_audience",),
        )
    if route.bearer_issuer is not None and (complaint := issuer_complaint(route.bearer_issuer)) is not None:
        yield Finding(f"{at}.bearer_issuer", *complaint)
    if route.bearer_revocations is not None:
        yield from _list(route.bearer_revocations.get_secret_value(), at)
    if route.token_kind() not in {"session", "none"}:
        yield Finding(
            f"{at}.token",
            f'is "{route.token_kind()}", and a client\'s own token goes on as it is',
            'write token = "session", or auth = "required"',
            needs=(f"{at}.auth", f"{at}.audience"),
        )


def _list(url: str, at: str) -> Iterator[Finding]:
    complaint = redis_complaint(url)
    if url.partition("://")[0] not in ("redis", "rediss", "unix"):
        complaint = "is no URL of one Redis", "write redis://…, rediss://… or unix://…"
    if complaint is not None:
        yield Finding(f"{at}.bearer_revocations", *complaint)


def check_introspection(settings: Settings) -> Iterator[Finding]:
    """Findings about routes that ask a provider about clients' tokens."""
    known = {provider.issuer for provider in settings.providers()}
    for index, route in enumerate(settings.route):
        if route.bearer_introspection and route.bearer_issuer not in (None, *known):
            yield Finding(
                f"route[{index}].bearer_introspection",
                "is set, and bearer_issuer is no provider: nobody is known there to ask as",
                "add a provider of that issuer, or remove the line",
                needs=(f"route[{index}].bearer_issuer", "provider.issuer"),
            )


def check_minted(settings: Settings) -> Iterator[Finding]:
    """Findings about `[minted]`."""
    issuer = settings.minted.issuer
    if issuer is None:
        return
    if (complaint := issuer_complaint(issuer)) is not None:
        yield Finding("minted.issuer", *complaint)
    if issuer in {provider.issuer for provider in settings.providers()}:
        yield Finding(
            "minted.issuer",
            "is a provider's own: backends would look for our keys there",
            "choose a name of your own, or remove the line",
            needs=("provider.issuer",),
        )


def _client(route: RouteSettings, at: str) -> Iterator[Finding]:
    """The settings of a token that the proxy has as a client."""
    for key in ("scopes", "resource", "token_provider"):
        if getattr(route, key) and route.token_kind() != "client":
            yield Finding(
                f"{at}.{key}",
                'is set, and only a token = "client" is asked for with it',
                "remove one of the two",
                needs=(f"{at}.token",),
            )
    writing = sorted(set(route.methods) - _READING)
    if route.token_kind() == "client" and route.auth == "none" and writing:
        yield Finding(
            f"{at}.methods",
            f"lets everybody send {', '.join(writing)} in the proxy's own name: no session is asked for",
            'name the methods that read, or write auth = "required"',
            needs=(f"{at}.auth", f"{at}.token"),
            warning=True,
        )
    for number, resource in enumerate(route.resource):
        if (complaint := resource_complaint(resource)) is not None:
            yield Finding(f"{at}.resource[{number}]", *complaint)
