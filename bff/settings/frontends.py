"""The frontends of the settings, each as if it were the only one. Pure.

Rule 1: without `[[frontend]]` there is one, without a name, and its settings are all settings as they stand.
Rule 2: with `[[frontend]]` that one is still there where `server.public_url` names a place of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bff.settings.model import (
    FrontendSettings,
    LimitSettings,
    ProviderSettings,
    RouteSettings,
    ServerSettings,
    SessionSettings,
    Settings,
    SpaSettings,
)
from bff.settings.url_parts import split_public_url, under

UNNAMED = "default"
"""The label of the frontend without a name, in logs and metrics of a process that has several."""

S = TypeVar("S", SessionSettings, SpaSettings, LimitSettings)


@dataclass(frozen=True, slots=True)
class Frontend:
    """One frontend: its name, "" where it has no section, and the settings that it is served with."""

    name: str
    settings: Settings

    @property
    def place(self) -> tuple[str, str]:
        """The origin and the path under which it lies."""
        return self.settings.server.public_url, self.settings.server.base_path


def frontends_of(settings: Settings) -> tuple[Frontend, ...]:
    """Returns all frontends, in their order; the one without a name comes first."""
    named = tuple(Frontend(each.name, settings_of(settings, each)) for each in settings.frontend)
    main = Frontend("", settings.model_copy(update={"frontend": ()}) if named else settings)
    every = named if main.place in {each.place for each in named} else (main, *named)
    at: dict[str, list[Frontend]] = {}
    for each in every:
        at.setdefault(each.settings.server.public_url, []).append(each)
    return tuple(_beside_others(each, at[each.settings.server.public_url]) for each in every)


def beside(server: ServerSettings) -> tuple[str, ...]:
    """Returns the paths at a frontend's origin that belong to other frontends.

    No sign-in may lead there: its last step would be a request of this very origin, and bring the cookies of
    all its frontends along.
    """
    return server.beside if isinstance(server, _SharedOrigin) else ()


class _SharedOrigin(ServerSettings):
    """The place of a frontend that shares its origin with others."""

    beside: tuple[str, ...]


def _beside_others(own: Frontend, at_origin: Sequence[Frontend]) -> Frontend:
    others = [each for each in at_origin if each is not own]
    if not others:
        return own
    taken = tuple(path for each in others for path in _taken_from(own.place[1], each))
    shared = _SharedOrigin.model_construct(**dict(own.settings.server), beside=taken)
    return Frontend(own.name, own.settings.model_copy(update={"server": shared}))


def _taken_from(base: str, other: Frontend) -> Iterator[str]:
    """Returns the paths of another frontend: its own path, or endpoints and routes where that lies above."""
    its_base = other.place[1]
    if its_base and not under(base, its_base):
        yield its_base
        return
    yield other.settings.server.own_path()
    routes = (its_base + route.path for route in other.settings.route)
    yield from (path for path in routes if not under(base, path))


def all_routes(settings: Settings) -> list[RouteSettings]:
    """Returns the routes of all frontends, as they are served."""
    return [route for each in frontends_of(settings) for route in each.settings.served_routes()]


def settings_of(settings: Settings, own: FrontendSettings) -> Settings:
    """Returns the settings of one frontend; those that it names none of are the shared ones."""
    public_url, base_path = split_public_url(own.public_url)
    choose = settings.server.choose_provider if own.choose_provider is None else own.choose_provider
    place = {"public_url": public_url, "base_path": base_path, "choose_provider": choose}
    chosen = _chosen(settings, own.providers)
    return settings.model_copy(
        update={
            "server": settings.server.model_copy(update=place),
            "session": _laid_over(settings.session, own.session),
            "spa": _laid_over(settings.spa, own.spa),
            "limits": _laid_over(settings.limits, own.limits),
            "provider": chosen[0],
            "more_providers": tuple(chosen[1:]),
            "route": (*settings.route, *own.route),
            "frontend": (),
        }
    )


def _chosen(settings: Settings, names: Sequence[str]) -> Sequence[ProviderSettings]:
    """Returns the providers of these names; all of them where none is known."""
    every = settings.providers()
    by_name = {each.name: each for each in every}
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name] or every


def _laid_over(shared: S, own: S) -> S:
    return shared.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def own_keys(own: FrontendSettings) -> Iterator[str]:
    """Returns the settings of the shared sections that a frontend has of its own, as `session.same_site`."""
    for section in ("session", "spa", "limits"):
        yield from (f"{section}.{name}" for name in sorted(getattr(own, section).model_fields_set))
