"""Checks of a route's access settings: the users that may pass, and the fields about them. Pure."""

from collections.abc import Collection, Iterator, Sequence

from bff.settings.dropped_headers import TO_BACKEND, plain_name, row_of
from bff.settings.model import RouteSettings
from bff.settings.problem import Finding

_USED = frozenset(
    {"accept", "authorization", "cache-control", "dnt", "origin", "pragma", "priority", "range", "referer"}
)
_USED_PREFIXES = ("accept-", "content-", "if-", "sec-", "user-agent")


def check_access(route: RouteSettings, at: str) -> Iterator[Finding]:
    """Findings about one route; `at` is its place, like `route[0]`."""
    asked = {"allow": route.allow, "headers": route.headers, "acr": route.acr, "max_age": route.max_age}
    for key, value in asked.items():
        if value and route.auth == "none":
            yield Finding(
                f"{at}.{key}",
                'means nothing with auth = "none": nobody is looked up',
                "remove one of the two",
                needs=(f"{at}.auth",),
            )
    passed = set(map(plain_name, route.pass_request_headers))
    names = [plain_name(name) for name in route.headers]
    for name, plain in zip(route.headers, names, strict=True):
        row = row_of(TO_BACKEND, name)
        if plain in _USED or plain.startswith(_USED_PREFIXES) or (row is not None and row.fixed):
            yield Finding(
                f"{at}.headers",
                f'names "{name}", which has a meaning of its own',
                "choose a name that your backend reads, like X-User",
            )
        elif names.count(plain) > 1:
            yield Finding(
                f"{at}.headers", f'names "{name}" twice: case does not count, and _ is -', "keep one of them"
            )
        elif plain in passed:
            yield Finding(
                f"{at}.headers",
                f'names "{name}", which pass_request_headers lets clients send themselves',
                "remove it there",
                needs=(f"{at}.pass_request_headers",),
            )
    if wrong := [name for name, claim in route.headers.items() if not claim]:
        yield Finding(
            f"{at}.headers", f"names no claim for {', '.join(wrong)}", 'write it like X-User = "sub"'
        )


def check_step_up(routes: Sequence[RouteSettings], login_params: Collection[str]) -> Iterator[Finding]:
    """Findings about routes that demand a sign-in which `provider.login_params` does not allow."""
    for index, route in enumerate(routes):
        for key, value, name in (("acr", route.acr, "acr_values"), ("max_age", route.max_age, "max_age")):
            if value and name not in login_params:
                yield Finding(
                    f"route[{index}].{key}",
                    f"is set, but provider.login_params lets no sign-in ask for {name}",
                    f'add "{name}" there',
                    needs=("provider.login_params",),
                )
