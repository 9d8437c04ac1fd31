"""The difference between two readings of the settings, and the way in which each takes effect. Pure.

Rule 1: newer settings are taken as a whole or not at all: one change that needs a restart leaves everything
as it is.
Rule 2: of several frontends none is replaced: beside `[[frontend]]`, before or after the change, a reload
takes what the parts in force take over (`IN_PLACE`), and all else needs a rolling restart.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from bff.settings.model import RouteSettings, Section, Settings
from bff.settings.provider_sections import with_provider

Way = Literal["live", "roll", "restart"]
"""The way in which a change takes effect: by a reload, by a rolling restart, by a restart of the service."""

IN_PLACE: Final = frozenset(
    {
        "session.keys",
        "session.keys_file",
        "provider.client_secret",
        "provider.client_secret_file",
        "provider.client_key",
        "provider.client_key_file",
        "provider.ca_file",
        "provider.client_cert_file",
        "provider.client_cert_key_file",
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


@dataclass(frozen=True, slots=True)
class Changes:
    """The names of the settings that differ: those that a reload takes, and those that need more."""

    taken: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def in_place(self) -> bool:
        """True if the parts in force take all that is taken."""
        return IN_PLACE.issuperset(self.taken)


def way_of(name: str) -> Way:
    """Returns the way in which a change of this setting takes effect."""
    if name in FIXED:
        return "restart"
    return "roll" if name in ROLLED or name.partition(".")[0] in ROLLED else "live"


def digest(settings: Settings) -> str:
    """Returns a short hash of settings, by which those of several processes compare; secrets do not count."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]


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
    several = bool(old.frontend or new.frontend)
    left = tuple(name for name in names if way_of(name) != "live" or (several and name not in IN_PLACE))
    return Changes(tuple(name for name in names if name not in left), left)


def _different(old: Settings, new: Settings) -> Iterator[str]:
    for section in type(old).model_fields:
        before, after = getattr(old, section), getattr(new, section)
        if before == after:
            continue
        if section == "route":
            yield from _different_routes(before, after)
        elif isinstance(before, Section) and isinstance(after, Section):
            for key in type(before).model_fields:
                if getattr(before, key) != getattr(after, key):
                    yield f"{section}.{key}"
        else:
            yield section.replace("more_providers", "provider")


def _different_routes(old: tuple[RouteSettings, ...], new: tuple[RouteSettings, ...]) -> Iterator[str]:
    """Yields the routes that were added, changed or removed, by their paths."""
    before, after = ({route.path: route for route in routes} for routes in (old, new))
    changed = [path for path in (*before, *after) if before.get(path) != after.get(path)]
    yield from (f"route {path}" for path in dict.fromkeys(changed))
    if not changed:
        yield "route"  # in another order
