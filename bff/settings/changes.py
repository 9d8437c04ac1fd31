"""The difference between two readings of the settings, and the way in which each takes effect. Pure.

Rule 1: newer settings are taken as a whole or not at all: one change that needs a restart leaves everything
as it is.
Rule 2: providers and frontends are what their names say: one in another place is the same one.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from bff.settings.model import FrontendSettings, ProviderSettings, RouteSettings, Section, Settings
from bff.settings.provider_sections import provider_section, with_provider

Way = Literal["live", "roll", "restart"]
"""The way in which a change takes effect: by a reload, by a rolling restart, by a restart of the service."""

CREDENTIALS: Final = frozenset(
    {
        "client_secret",
        "client_secret_file",
        "client_key",
        "client_key_file",
        "ca_file",
        "client_cert_file",
        "client_cert_key_file",
    }
)
"""The settings of a provider that its client takes over."""

IN_PLACE: Final = frozenset(
    {
        "session.keys",
        "session.keys_file",
        *(f"provider.{name}" for name in CREDENTIALS),
        "forward_auth.secrets",
        "forward_auth.secrets_file",
        "log.level",
        "log.format",
    }
)
"""The settings that the parts in force take over; for any other a new frontend is built."""

FIXED: Final = frozenset(
    {"server.host", "server.port", "server.ops_host", "server.ops_port", "server.ops_hosts", "server.workers"}
)
"""The settings of the supervisor itself: a rolling restart does not change them."""

ROLLED: Final = frozenset({"server.public_url", "server.base_path", "redis", "telemetry"})
"""The settings, and the whole sections, of parts that live as long as their process."""


NEEDS_RESTART: Final = "settings that need a restart have changed"

_SECRETS: Final = (("session", "keys"), ("forward_auth", "secrets"))
_CLIENT_SECRETS: Final = ("client_secret", "client_key")
_NUMBER: Final = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Changes:
    """The names of the settings that differ: those that a reload takes, and those that need more."""

    taken: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def in_place(self) -> bool:
        """True if the parts in force take all that is taken."""
        return IN_PLACE.issuperset(_NUMBER.sub("", name) for name in self.taken)


def way_of(name: str) -> Way:
    """Returns the way in which a change of this setting takes effect."""
    if name in FIXED:
        return "restart"
    return "roll" if name in ROLLED or name.partition(".")[0] in ROLLED else "live"


def digest(settings: Settings) -> str:
    """Returns a short hash of settings, by which those of several processes compare; secrets do not count.

    Nor does their number: their files have a watch of their own, and a new worker reads them at its start.
    """
    secrets = {section: {name} for section, name in _SECRETS}
    return hashlib.sha256(settings.model_dump_json(exclude=secrets).encode()).hexdigest()[:12]


def keep_files(current: Settings, newer: Settings) -> Settings:
    """The newer settings with what is in force of each secret file that is still the same.

    Secret files have a watch of their own, which knows when one is complete.
    """
    for section, name in _SECRETS:
        before, after = getattr(current, section), getattr(newer, section)
        if _has_same_file(before, after, name):
            part = after.model_copy(update={name: getattr(before, name)})
            newer = newer.model_copy(update={section: part})
    former = {each.name: each for each in current.providers()}
    for number, provider in enumerate(newer.providers()):
        known = former.get(provider.name, provider)
        kept = [name for name in _CLIENT_SECRETS if _has_same_file(known, provider, name)]
        newer = with_provider(newer, number, {name: getattr(known, name) for name in kept})
    return newer


def _has_same_file(before: Section, after: Section, name: str) -> bool:
    path = getattr(after, f"{name}_file")
    return path is not None and path == getattr(before, f"{name}_file")


def compare(old: Settings, new: Settings) -> Changes:
    """Sorts the differences between the settings in force and newer ones."""
    names = tuple(_different(old, new))
    left = tuple(name for name in names if way_of(name) != "live")
    return Changes(tuple(name for name in names if name not in left), left)


def _different(old: Settings, new: Settings) -> Iterator[str]:
    for section in type(old).model_fields:
        before, after = getattr(old, section), getattr(new, section)
        if section == "provider":
            yield from _different_providers(old, new)
        elif before == after or section == "more_providers":
            continue
        elif section == "route":
            yield from _different_parts("route", _by_path(before), _by_path(after))
        elif section == "frontend":
            yield from _different_parts("frontend", _by_name(before), _by_name(after))
        else:
            yield from _different_keys(section, before, after)


def _different_providers(old: Settings, new: Settings) -> Iterator[str]:
    """Yields the settings that differ of providers that stay, and the names of those that come or go."""
    before, after = _by_name(old.providers()), _by_name(new.providers())
    if len(before) == len(after) == 1:
        yield from _different_keys("provider", old.provider, new.provider)
        return
    for number, (name, provider) in enumerate(after.items()):
        if name in before:
            yield from _different_keys(provider_section(new, number), before[name], provider)
    yield from (f"provider {name}" for name in {**before, **after} if (name in before) != (name in after))
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield "provider"  # in another order: the first one is the default


def _different_keys(at: str, before: Section, after: Section) -> Iterator[str]:
    for name in type(before).model_fields:
        if getattr(before, name) != getattr(after, name):
            yield f"{at}.{name}"


def _different_parts(kind: str, before: Mapping[str, Section], after: Mapping[str, Section]) -> Iterator[str]:
    """Yields the parts of one kind that were added, changed or removed, as `route /api`."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    yield from (f"{kind} {name}" for name in changed)
    if not changed:
        yield kind  # in another order


def _by_path(routes: Iterable[RouteSettings]) -> dict[str, Section]:
    return {route.path: route for route in routes}


def _by_name(parts: Iterable[ProviderSettings] | Iterable[FrontendSettings]) -> dict[str, Section]:
    return {each.name: each for each in parts}
