"""Findings about each of several providers and frontends, by the rules for a single one. Pure.

Rule 1: each rule is written once, for the only provider of the only frontend. Here it is asked about every
combination, and its finding is named after the section that it is about: `provider[1].issuer`,
`frontend[0].session.idle_timeout`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from bff.settings.frontends import UNNAMED, Frontend, frontends_of, own_keys, settings_of
from bff.settings.model import FrontendSettings, Settings
from bff.settings.problem import Finding
from bff.settings.url_parts import host_of, under

Judge = Callable[[Settings], Iterable[Finding]]
"""Finds what is wrong with the only provider and the only frontend."""

SHARED: Final = frozenset(
    {
        "keys",
        "keys_file",
        "csrf_header",
        "near_cache",
        "near_cache_memory",
        "slide_interval",
        "record_format",
        "readable_claims",
    }
)
"""The settings of `[session]` that are the process's, and no frontend's own."""

_SHARED_LIMITS: Final = frozenset({"timeout", "events_per_process"})
_ROUTE = re.compile(r"route\[(\d+)\]")
_NO_CALLBACK: Final = frozenset({"finish"})


def judged(settings: Settings, judge: Judge) -> Iterator[Finding]:
    """Findings about all providers and all frontends, each once."""
    told: set[tuple[str, str]] = set()
    for finding in _judged(settings, judge):
        if (known := (finding.key, finding.message)) not in told:
            told.add(known)
            yield finding


def check_several(settings: Settings) -> Iterator[Finding]:
    """Findings about what several providers and frontends are to each other."""
    yield from _names("provider", [each.name for each in settings.providers()])
    yield from _names("frontend", [each.name for each in settings.frontend])
    several = bool(settings.more_providers)
    for number, provider in enumerate(settings.providers()):
        if provider.name in _NO_CALLBACK and several:
            yield Finding(
                f"provider[{number}].name", "is a path of the sign-in itself", "choose another name"
            )
    known = {each.name for each in settings.providers()}
    for number, own in enumerate(settings.frontend):
        at = f"frontend[{number}]"
        if own.name == UNNAMED:
            yield Finding(f"{at}.name", "is the name of the frontend without a section", "choose another one")
        if unknown := [name for name in own.providers if name not in known]:
            fix = f"write the name of a [[provider]]: {', '.join(sorted(known))}"
            yield Finding(f"{at}.providers", f"names {', '.join(unknown)}, which is no provider", fix)
        taken = (SHARED & own.session.model_fields_set, _SHARED_LIMITS & own.limits.model_fields_set)
        for section, names in zip(("session", "limits"), taken, strict=True):
            for name in sorted(names):
                fix = f"set it under [{section}]"
                yield Finding(f"{at}.{section}.{name}", "is the same for all frontends of a process", fix)
    yield from _token_providers(settings)
    if settings.frontend:
        yield from _places(settings)


def _token_providers(settings: Settings) -> Iterator[Finding]:
    """Findings about the providers of tokens in the proxy's own name: a frontend needs its routes'."""
    known = [each.name for each in settings.providers()]
    first = len(frontends_of(settings)) - len(settings.frontend)
    for number, view in enumerate(frontends_of(settings), start=-first):
        have = {each.name for each in view.settings.providers()}
        for index, route in enumerate(view.settings.route):
            own = index - len(settings.route)  # of a frontend's own route
            at = f"frontend[{number}].route[{own}]" if own >= 0 and number >= 0 else f"route[{index}]"
            if route.token_provider is None or route.token_provider in have:
                continue
            if route.token_provider not in known:
                fix = f"write the name of a provider: {', '.join(sorted(known))}"
                yield Finding(f"{at}.token_provider", f"names {route.token_provider}, which is none", fix)
            else:
                text = f"lacks {route.token_provider}, which {at}.token_provider names"
                fix = "add it at the end, or move the route to the frontends that have it"
                yield Finding(f"frontend[{number}].providers", text, fix)


def _names(section: str, names: list[str]) -> Iterator[Finding]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Finding(
                f"{section}[{number}].name",
                f'is the same as that of {section}[{names.index(name)}], "{name}"',
                "give each a name of its own: sessions are bound to it",
            )


def _places(settings: Settings) -> Iterator[Finding]:
    """Findings about frontends that get into each other's way."""
    every = frontends_of(settings)
    first = len(every) - len(settings.frontend)  # the one without a section has no number
    places: dict[tuple[str, str], Frontend] = {}
    cookies: dict[tuple[str, str, str], Frontend] = {}
    at_origin: dict[str, list[Frontend]] = {}
    for number, one in enumerate(every, -first):
        place, cookie = places.setdefault(one.place, one), cookies.setdefault(_cookies(one), one)
        at_origin.setdefault(one.place[0], []).append(one)
        if number >= 0:
            yield from _beside(f"frontend[{number}].public_url", one, place, cookie)
    for number, one in enumerate(every[first:]):
        for other in at_origin[one.place[0]]:
            yield from _hidden(f"frontend[{number}]", settings.frontend[number], one, other)


def _beside(key: str, one: Frontend, place: Frontend, cookie: Frontend) -> Iterator[Finding]:
    """Findings about a frontend and the first ones of its place, and of its cookies' names."""
    if place is not one:
        name = place.name or "server.public_url"
        yield Finding(key, f"is the place of {name} already", "give it a host, or a path, of its own")
    elif cookie is not one:
        yield Finding(
            key,
            f"differs from {cookie.name or 'server.public_url'} by its port alone: browsers keep cookies by "
            "host name, for all ports",
            "give it another host name, or a path",
        )


def _cookies(one: Frontend) -> tuple[str, str, str]:
    """Returns what tells a frontend's cookies apart: the scheme and the path are in their names."""
    origin, base_path = one.place
    return origin.partition(":")[0], host_of(origin), base_path


def _hidden(at: str, own: FrontendSettings, one: Frontend, other: Frontend) -> Iterator[Finding]:
    """One frontend below another's endpoints at the same origin, or its routes below the other's path."""
    base, its_base = one.place[1], other.place[1]
    own_path = other.settings.server.own_path()
    if its_base and under(base, own_path):  # under "/bff" itself lies no path at all
        message = f'lies under "{own_path}", where the endpoints of {other.name or UNNAMED} are'
        yield Finding(f"{at}.public_url", message, "choose another path")
    if len(its_base) <= len(base):
        return
    for index, route in enumerate(own.route):
        if under(base + route.path, its_base):
            yield Finding(
                f"{at}.route[{index}].path",
                f'lies under "{its_base}", which is the frontend {other.name or UNNAMED}',
                "choose another path",
            )


def _judged(settings: Settings, judge: Judge) -> Iterator[Finding]:
    several = bool(settings.more_providers)
    for number, provider in enumerate(settings.providers()):
        alone = settings.model_copy(update={"provider": provider, "more_providers": ()})
        for finding in judge(alone):
            yield _numbered(finding, number) if several else finding
    numbers = {each.name: number for number, each in enumerate(settings.providers())}
    for number, own in enumerate(settings.frontend):
        view = settings_of(settings, own)
        for provider in view.providers():
            alone = view.model_copy(update={"provider": provider, "more_providers": ()})
            for finding in judge(alone):
                if several and _is_about_provider(finding.key):
                    yield _numbered(finding, numbers[provider.name])
                elif _is_about_provider(finding.key):
                    yield finding
                else:
                    key, *needs = (
                        _own_key(each, own, number, len(settings.route))
                        for each in (finding.key, *finding.needs)
                    )
                    yield replace(finding, key=key, needs=tuple(needs))


def _is_about_provider(key: str) -> bool:
    return key.startswith("provider.")


def _numbered(finding: Finding, number: int) -> Finding:
    def of(key: str) -> str:
        return f"provider[{number}].{key.removeprefix('provider.')}" if _is_about_provider(key) else key

    return replace(finding, key=of(finding.key), needs=tuple(map(of, finding.needs)))


def _own_key(key: str, own: FrontendSettings, number: int, shared_routes: int) -> str:
    """Returns the setting that a finding about a frontend's view is about: its own, or a shared one."""
    at = f"frontend[{number}]"
    if key in {"server.public_url", "server.base_path"}:
        return f"{at}.public_url"
    if (route := _ROUTE.match(key)) is not None:
        index = int(route[1]) - shared_routes
        return f"{at}.route[{index}]{key[route.end() :]}" if index >= 0 else key
    return f"{at}.{key}" if key.partition("[")[0] in own_keys(own) else key
